from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genemamba.metrics._check import check_predictions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def balanced_accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Say what share of a cell type's cells is recognised, on average over types.

    Recall TP / (TP + FN) of each class, averaged over the classes that occur in `labels`;
    not adjusted for chance.

    Parameters
    ----------
    labels
        True cell type of every cell.
    predicted
        Predicted cell type of every cell.

    Returns
    -------
    From 0 to 1; one over the number of types for a guess.

    Raises
    ------
    InputError
        NaN in an argument, lengths that differ, names in one and numbers in the other.

    Examples
    --------
    >>> import genemamba as gm
    >>> gm.metrics.balanced_accuracy(["B", "T", "T", "T"], ["T", "T", "T", "T"])
    0.5
    """
    from sklearn.metrics import recall_score

    truth, guess = check_predictions(labels, predicted)
    # balanced_accuracy_score is the same, but warns of every class that was predicted in vain
    return float(recall_score(truth, guess, labels=np.unique(truth), average="macro"))
