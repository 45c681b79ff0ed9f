from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genemamba.metrics._check import check_predictions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def macro_f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Say how well cell types were predicted, rare ones counting as much as common ones.

    F1 = 2 TP / (2 TP + FP + FN) of each class, averaged over the classes that occur in `labels`.
    A predicted class that does not ("unknown", say) makes its cells wrong but adds no class of its
    own; scikit-learn's default would add it with F1 = 0.

    Parameters
    ----------
    labels
        True cell type of every cell.
    predicted
        Predicted cell type of every cell.

    Returns
    -------
    From 0 to 1.

    Raises
    ------
    InputError
        NaN in an argument, lengths that differ, names in one and numbers in the other.

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
