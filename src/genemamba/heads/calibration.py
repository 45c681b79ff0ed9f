"""Confidence that means something: temperature, and prediction sets with a stated coverage.

Both are set on cells that the classifier was not trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

BEST, WORST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """Find the temperature at which held-out cells are most likely (Guo et al., 2017).

    n cells that are all right do not prove that the next one will be: each counts as one in n + 2
    of no class in particular (Platt, 1999).

    Parameters
    ----------
    logits
        ``(n_cells, n_classes)``; ``-inf`` for a class that was not trained on.
    y
        Class codes, each with a finite logit.
    """
    truth, known = np.arange(len(y)), np.isfinite(logits)
    doubt = 1 / (len(y) + 2)

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)
        anyone = np.where(known, scaled, 0).sum(axis=1) / known.sum(axis=1)
        return -((1 - doubt) * scaled[truth, y] + doubt * anyone).mean()

    found = minimize_scalar(loss, bounds=(np.log(BEST), np.log(WORST)), method="bounded")
    return float(np.exp(found.x))


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return calibrated probabilities, float32; rows of NaN stay NaN."""
    return softmax(logits.astype(np.float64) / temperature, axis=1).astype(np.float32)


def prediction_sets(
    probas: Iterable[np.ndarray], scores: Sequence[np.ndarray], coverage: float
) -> np.ndarray:
    """Return bool ``(n_cells, n_classes)``: sets that hold the true class with this probability.

    CV+ (Barber et al., 2021; Romano et al., 2020) with the scores of Sadinle et al. (2019); with
    one classifier split conformal prediction (Vovk et al., 2005). A class is left out if so
    few of the cells held out had as little probability of their own class, each compared by the
    classifier that had not seen it. The true class is in the set with probability
    ``2 coverage - 1`` or more (with one classifier: `coverage`), in practice nearly `coverage`.

    Parameters
    ----------
    probas
        From each classifier, ``(n_cells, n_classes)``.
    scores
        For each classifier, what the cells it had not seen gave to their true class.
    coverage
        Between 0 and 1.
    """
    n = sum(map(len, scores))
    alike = sum(
        np.searchsorted(np.sort(score), proba, side="right")
        for score, proba in zip(scores, probas, strict=True)
    )
    return 1 + np.asarray(alike) > (1 - coverage) * (n + 1) + 1e-9
