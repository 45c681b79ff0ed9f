from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from genemamba.errors import InputError


def expected_calibration_error(
    confidence: ArrayLike, correct: ArrayLike, *, n_bins: int = 15
) -> float:
    """Measure how far confidence is from the fraction of correct predictions (ECE).

    Cells are put into bins of equal width by confidence, ((b - 1) / n_bins, b / n_bins], 0 into the
    first. ECE is the mean over bins, weighted by cells, of abs(fraction correct - mean confidence).

    Parameters
    ----------
    confidence
        Probability of the predicted class of every cell, from 0 to 1.
    correct
        Whether the prediction is correct, bool or 0 and 1.
    n_bins
        Number of bins.

    Returns
    -------
    From 0, perfectly calibrated, to 1.

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
    gaps = bins["cells"] * (bins["accuracy"] - bins["confidence"]).abs()
    return float(gaps.sum() / bins["cells"].sum())


def calibration_bins(confidence: ArrayLike, correct: ArrayLike, n_bins: int) -> pd.DataFrame:
    """Return cells, mean confidence and accuracy of each bin (NaN where a bin is empty)."""
    probability, right = (np.asarray(v, dtype=np.float64) for v in (confidence, correct))
    _check(probability, right, n_bins)
    edges = np.linspace(0, 1, n_bins + 1)
    bins = np.clip(np.searchsorted(edges, probability, side="left") - 1, 0, n_bins - 1)
    cells = np.bincount(bins, minlength=n_bins)
    some = np.where(cells == 0, np.nan, cells)
    means = [np.bincount(bins, values, n_bins) / some for values in (probability, right)]
    return pd.DataFrame({"cells": cells, "confidence": means[0], "accuracy": means[1]})


def _check(probability: NDArray[np.float64], right: NDArray[np.float64], n_bins: int) -> None:
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
        raise InputError("correct has values other than true and false", "pass labels == predicted")
    if n_bins < 1:
        raise InputError(f"n_bins={n_bins}", "use 1 or more bins, e.g. 15")
