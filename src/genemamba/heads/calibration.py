"""Calibrated confidence: temperature scaling, and prediction sets with a given coverage.

Both are fitted on cells that the classifier was not trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

BEST, WORST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """Find the temperature at which held-out cells are most likely (Guo et al., 2017).

    n correct cells do not prove that the next one will be correct: each counts 1 in n + 2 for no
    particular class (Platt, 1999). Logits are ``-inf`` for a class that was not trained on.
    """
    truth, known = np.arange(len(y)), np.isfinite(logits)
    doubt = 1 / (len(y) + 2)

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)
        uniform = np.where(known, scaled, 0).sum(axis=1) / known.sum(axis=1)
        return -((1 - doubt) * scaled[truth, y] + doubt * uniform).mean()

    found = minimize_scalar(loss, bounds=(np.log(BEST), np.log(WORST)), method="bounded")
    return float(np.exp(found.x))


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return calibrated probabilities, float32; NaN rows stay NaN."""
    return softmax(logits.astype(np.float64) / temperature, axis=1).astype(np.float32)


def prediction_sets(
    probas: Iterable[np.ndarray], scores: Sequence[np.ndarray], coverage: float
) -> np.ndarray:
    """Return bool ``(n_cells, n_classes)``: sets that contain the true class with this probability.

    CV+ (Barber et al., 2021; Romano et al., 2020) with the scores of Sadinle et al. (2019); with
    one classifier, split conformal prediction (Vovk et al., 2005). A class is excluded if too few
    held-out cells gave their own class as little probability, each judged by the classifier that
    had not seen it. The true class is in the set with probability of at least ``2 coverage - 1``
    (with one classifier: `coverage`), in practice about `coverage`.

    `probas` are ``(n_cells, n_classes)`` from each classifier, `scores` the probabilities that the
    cells it had not seen gave to their true class.
    """
    n = sum(map(len, scores))
    alike = sum(
        np.searchsorted(np.sort(score), proba, side="right")
        for score, proba in zip(scores, probas, strict=True)
    )
    return 1 + np.asarray(alike) > (1 - coverage) * (n + 1) + 1e-9
