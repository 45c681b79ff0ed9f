from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from genemamba._docs import documented
from genemamba.metrics._check import check_predictions


@documented
def balanced_accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Return the fraction of a cell type's cells that is recognised, averaged over types.

    Recall TP / (TP + FN) of each class, averaged over the classes that occur in `labels`;
    not adjusted for chance.

    Parameters
    ----------
    {predictions}

    Returns
    -------
    From 0 to 1; one over the number of types for a guess.

    {bad_predictions}

    Examples
    --------
    >>> import genemamba as gm
    >>> gm.metrics.balanced_accuracy(["B", "T", "T", "T"], ["T", "T", "T", "T"])
    0.5
    """
    from sklearn.metrics import recall_score

    truth, guess = check_predictions(labels, predicted)
    # balanced_accuracy_score is the same, but warns of predicted classes that have no cell
    return float(recall_score(truth, guess, labels=np.unique(truth), average="macro"))
