"""Linear discriminant analysis of two views of a cell, with a shrunken covariance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from genemamba.heads.probe import Probe

SHRINKAGES = (0.2, 0.5, 0.8)
"""Of the covariance inside classes towards a multiple of the identity, to choose from."""
_TINY = 1e-12
_TAIL = 3.0
"""Log odds from which probability falls as a power: cells far from all classes are not certain."""


class Discriminants(Probe):
    """Linear discriminants, as arrays. Of Gaussian classes, certainty would grow without limit."""

    def logits(self, X: np.ndarray) -> np.ndarray:
        """Return ``(n_cells, n_classes)`` float32."""
        linear = super().logits(X)
        behind = linear.max(axis=1, keepdims=True) - linear
        return -np.log1p(behind / np.float32(_TAIL))


def fit_discriminants(
    X: np.ndarray,
    y: np.ndarray,
    n_classes: int,
    folds: Sequence[np.ndarray],
    shrinkages: Sequence[Sequence[float]],
    *,
    first: int,
) -> list[list[Discriminants]]:
    """Fit to the cells of each fold, with each of its shrinkages; one list per fold.

    The `first` features, and the others, are each scaled to a total variance of 1. Classes have
    equal weight (Fisher 1936). Batches that differ inside a class widen the covariance there, so
    the directions in which they differ count less.
    """
    with threadpool_limits(1):  # the products are small: threads would wait for each other
        return [
            _fit(X[cells], y[cells], n_classes, own, first)
            for cells, own in zip(folds, shrinkages, strict=True)
        ]


def inside(X: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of classes, and the covariance inside them.

    `own` are codes of classes, each of which has a cell.
    """
    means = class_means(X, own)
    left = X - means[own]
    return means, left.T @ left / len(left)


def class_means(X: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return the mean of each class."""
    return np.stack([X[own == k].mean(axis=0) for k in range(own.max() + 1)])


def shrunken(covariance: np.ndarray, share: float) -> np.ndarray:
    """Return a covariance with a share of a multiple of the identity."""
    level = max(np.trace(covariance) / len(covariance), _TINY)
    found = (1 - share) * covariance
    found[np.diag_indices_from(found)] += share * level
    return found


def _fit(
    X: np.ndarray, y: np.ndarray, n_classes: int, shrinkages: Sequence[float], first: int
) -> list[Discriminants]:
    mean = X.mean(axis=0, dtype=np.float64)
    centred = X - mean
    variance = centred.var(axis=0)
    scale = np.concatenate([
        np.full(len(part), np.sqrt(max(part.sum(), _TINY)))
        for part in (variance[:first], variance[first:])
    ])  # fmt: skip
    Z = centred / scale
    there, own = np.unique(y, return_inverse=True)
    means, scatter = inside(Z, own)
    found = []
    for share in shrinkages:
        solved = cho_solve(cho_factor(shrunken(scatter, share), lower=True), means.T).T
        weight = np.zeros((n_classes, X.shape[1]), dtype=np.float32)
        bias = np.full(n_classes, -np.inf, dtype=np.float32)
        weight[there] = solved
        bias[there] = -0.5 * (solved * means).sum(axis=1)
        found.append(Discriminants(weight, bias, mean.astype(np.float32), scale.astype(np.float32)))
    return found
