"""A linear classifier on frozen embeddings."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

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
        X = X.astype(np.float64)  # in float32 the solver stops where rounding tells it to
        mean, scale = X.mean(axis=0), X.std(axis=0)
        scale = np.where(scale > 0, scale, 1)
        linear = LogisticRegression(C=strength, max_iter=500)
        # the products are small: threads would only wait. A fit that stops early is one with a
        # slightly stronger penalty, and held-out cells choose among penalties.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            linear.fit((X - mean) / scale, y)
        coef, intercept = linear.coef_, linear.intercept_
        if len(linear.classes_) == 2:  # scikit-learn keeps one row for two classes
            coef = np.concatenate([-coef, coef]) / 2
            intercept = np.concatenate([-intercept, intercept]) / 2
        weight = np.zeros((n_classes, X.shape[1]), dtype=np.float32)
        bias = np.full(n_classes, -np.inf, dtype=np.float32)
        weight[linear.classes_], bias[linear.classes_] = coef, intercept
        return cls(weight, bias, mean.astype(np.float32), scale.astype(np.float32))

    def logits(self, X: np.ndarray) -> np.ndarray:
        """Return ``(n_cells, n_classes)`` float32."""
        return ((X - self.mean) / self.scale @ self.weight.T + self.bias).astype(np.float32)
