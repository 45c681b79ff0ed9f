"""A linear classifier on frozen embeddings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import ThreadpoolController

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse L2 penalties to choose from (scikit-learn's C, on standardised features)."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Multinomial logistic regression, as arrays.

    Parameters
    ----------
    weight
        ``(n_classes, n_features)`` float32; acts on ``(X - mean) / scale``.
    bias
        ``(n_classes,)`` float32; ``-inf`` for a class that no training cell had.
    mean, scale
        ``(n_features,)`` float32, of the training cells.
    """

    weight: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, X: np.ndarray, y: np.ndarray, n_classes: int, *, strength: float) -> Probe:
        """Fit to ``(n_cells, n_features)`` embeddings and class codes ``0 … n_classes - 1``."""
        return cls.path(X, y, n_classes, (strength,))[0]

    @classmethod
    def path(
        cls, X: np.ndarray, y: np.ndarray, n_classes: int, strengths: Sequence[float] = STRENGTHS
    ) -> list[Probe]:
        """Fit one for each strength, each starting from the one before.

        Cells of one class only give that class all probability.
        """
        X = X.astype(np.float64)  # in float32 the solver stops where rounding tells it to
        mean, scale = X.mean(axis=0), X.std(axis=0)
        scale = np.where(scale > 0, scale, 1)
        X = (X - mean) / scale
        linear = LogisticRegression(max_iter=500, warm_start=True)
        classes = np.unique(y)
        probes = []
        for strength in strengths:
            if len(classes) > 1:
                coef, intercept = _fitted(linear.set_params(C=strength), X, y)
            else:
                coef, intercept = np.zeros((1, X.shape[1])), np.zeros(1)
            weight = np.zeros((n_classes, X.shape[1]), dtype=np.float32)
            bias = np.full(n_classes, -np.inf, dtype=np.float32)
            weight[classes], bias[classes] = coef, intercept
            probes.append(cls(weight, bias, mean.astype(np.float32), scale.astype(np.float32)))
        return probes

    def logits(self, X: np.ndarray) -> np.ndarray:
        """Return ``(n_cells, n_classes)`` float32."""
        return ((X - self.mean) / self.scale @ self.weight.T + self.bias).astype(np.float32)


def _fitted(
    linear: LogisticRegression, X: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a row of weights and a bias for each class."""
    # the products are small: threads would only wait. A fit that stops early is one with a
    # slightly stronger penalty, and held-out cells choose among penalties.
    with _pools().limit(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        linear.fit(X, y)
    coef, intercept = linear.coef_, linear.intercept_
    if len(linear.classes_) == 2:  # scikit-learn keeps one row for two classes
        coef = np.concatenate([-coef, coef]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    return coef, intercept


@cache
def _pools() -> ThreadpoolController:
    """Find the libraries that use threads, once: it takes as long as a small fit."""
    return ThreadpoolController()
