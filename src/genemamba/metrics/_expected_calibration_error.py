from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genemamba.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def expected_calibration_error(
    confidence: ArrayLike, correct: ArrayLike, *, n_bins: int = 15
) -> float:
    """Say how far confidence is from the share of correct predictions (ECE).

    Cells are put into bins of equal width by confidence, ((b - 1) / n_bins, b / n_bins], 0 into the
    first. ECE is the mean over bins, weighted by cells, of abs(share correct - mean confidence).

    Parameters
    ----------
    confidence
        Probability of the predicted class of every cell, from 0 to 1.
    correct
        Whether the prediction was right, bool or 0 and 1.
    n_bins
        Number of bins.

    Returns
    -------
    From 0, confidence means what it says, to 1.

    Raises
    ------
    InputError
        NaN, lengths that differ, confidence outside 0 to 1, `correct` neither true nor false.

    Examples
    --------
    >>> import genemamba as gm
    >>> round(gm.metrics.expected_calibration_error([0.9, 0.9, 0.6, 0.6], [1, 1, 1, 0]), 3)
    0.1
    """
    bins = calibration_bins(confidence, correct, n_bins)
    return float((bins["cells"] * (bins["accuracy"] - bins["confidence"]).abs()).sum()
                 / bins["cells"].sum())  # fmt: skip


def calibration_bins(confidence: ArrayLike, correct: ArrayLike, n_bins: int) -> pd.DataFrame:
    """Return cells, mean confidence and share correct of each bin (NaN where a bin is empty)."""
    probability, right = _check(confidence, correct, n_bins)
    edges = np.linspace(0, 1, n_bins + 1)
    bins = np.clip(np.searchsorted(edges, probability, side="left") - 1, 0, n_bins - 1)
    cells = np.bincount(bins, minlength=n_bins)
    some = np.where(cells == 0, np.nan, cells)
    return pd.DataFrame(
        {
            "cells": cells,
            "confidence": np.bincount(bins, probability, n_bins) / some,
            "accuracy": np.bincount(bins, right, n_bins) / some,
        }
    )


def _check(
    confidence: ArrayLike, correct: ArrayLike, n_bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    probability = np.asarray(confidence, dtype=np.float64)
    right = np.asarray(correct, dtype=np.float64)
    if probability.ndim != 1 or probability.shape != right.shape or len(probability) == 0:
        raise InputError(
            f"confidence has shape {probability.shape}, correct {right.shape}",
            "pass one value a cell of each",
        )
    bad = ~((probability >= 0) & (probability <= 1))
    if bad.any():
        raise InputError(
            f"confidence is NaN or not within 0 and 1 for {bad.sum()} of {len(bad)} cells, "
            f"e.g. {probability[bad][0]:.6g}",
            "pass probabilities; leave out cells without a prediction",
        )
    if not np.isin(right, (0, 1)).all():
        raise InputError(
            "correct holds other values than true and false", "pass labels == predicted"
        )
    if n_bins < 1:
        raise InputError(f"n_bins={n_bins}", "give a number of bins from 1 up, e.g. 15")
    return probability, right
