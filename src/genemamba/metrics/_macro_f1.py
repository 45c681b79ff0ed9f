from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from genemamba._docs import documented
from genemamba.metrics._check import check_predictions


@documented
def macro_f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Score predicted cell types, rare ones counting as much as common ones.

    F1 = 2 TP / (2 TP + FP + FN) of each class, averaged over the classes that occur in `labels`.
    Cells predicted as any other class ("unknown", say) count as wrong, but that class is not
    averaged; scikit-learn's default would add it with F1 = 0.

    Parameters
    ----------
    {predictions}

    Returns
    -------
    From 0 to 1.

    {bad_predictions}

    Examples
    --------
    >>> import genemamba as gm
    >>> gm.metrics.macro_f1(["B", "B", "T", "T"], ["B", "B", "T", "unknown"])
    0.8333333333333333
    """
    from sklearn.metrics import f1_score

    truth, guess = check_predictions(labels, predicted)
    classes = np.unique(truth)
    return float(f1_score(truth, guess, labels=classes, average="macro", zero_division=0))
