"""Confidence that means something: temperature, and prediction sets with a stated coverage.

Both are set on cells that the classifier was not trained on.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

BEST, WORST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """Find the temperature at which held-out cells are most likely (Guo et al., 2017).

    Parameters
    ----------
    logits
        ``(n_cells, n_classes)``; ``-inf`` for a class that was not trained on.
    y
        Class codes, each with a finite logit.
    """
    rows = np.arange(len(y))

    def loss(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        return -log_softmax(scaled, axis=1)[rows, y].mean()

    found = minimize_scalar(loss, bounds=(np.log(BEST), np.log(WORST)), method="bounded")
    return float(np.exp(found.x))


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return calibrated probabilities, float32; rows of NaN stay NaN."""
    return softmax(logits.astype(np.float64) / temperature, axis=1).astype(np.float32)


def set_threshold(true_probability: np.ndarray, coverage: float) -> float:
    """Return the least probability a class needs to be in a cell's prediction set.

    Split conformal prediction (Vovk et al., 2005; scores of Sadinle et al., 2019): sets of cells
    exchangeable with those given hold the true class with probability `coverage` or more.

    Parameters
    ----------
    true_probability
        Probability that each held-out cell gave to its true class.
    coverage
        Between 0 and 1.
    """
    n = len(true_probability)
    rank = int((n + 1) * (1 - coverage) + 1e-9)  # of the ascending probabilities, from 1
    return float(np.sort(true_probability)[rank - 1]) if rank >= 1 else 0.0


def prediction_sets(proba: np.ndarray, threshold: float) -> np.ndarray:
    """Return bool ``(n_cells, n_classes)``; the most probable class is always in the set."""
    sets = proba >= threshold
    known = np.isfinite(proba).all(axis=1)
    sets[known, proba[known].argmax(axis=1)] = True
    return sets
