"""Labelled reference cells, and what the nearest of them say about a cell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pynndescent import NNDescent

EXACT_UP_TO = 20_000
"""Reference cells up to which all distances are computed; an index pays beyond."""
_BLOCK = 1024  # cells whose distances to all reference cells stand in memory at once


@dataclass(frozen=True, eq=False)
class Reference:
    """Reference cells with their classes.

    Parameters
    ----------
    X
        ``(n_cells, n_features)`` float32, finite.
    y
        ``(n_cells,)`` class codes; -1 for a cell that is familiar but has no class to vote for.
    n_classes
        Number of classes, those without a cell included.
    """

    X: np.ndarray
    y: np.ndarray
    n_classes: int

    def search(self, X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return indices and Euclidean distances of the `k` nearest, nearest first."""
        k = min(k, len(self.X))
        if len(self.X) > EXACT_UP_TO:
            index, distance = self._index.query(X, k=k)
            return index, distance
        blocks = [self._exact(X[i : i + _BLOCK], k) for i in range(0, len(X), _BLOCK)]
        index, distance = (np.concatenate(part) for part in zip(*blocks, strict=True))
        return index, distance

    def mean_distance(self, X: np.ndarray, n_nearest: int = 10) -> np.ndarray:
        """Return each cell's mean distance to its nearest reference cells: how novel it is."""
        return self.search(X, n_nearest)[1].mean(axis=1)

    def logits(self, X: np.ndarray, n_neighbors: int = 30) -> np.ndarray:
        """Return log shares of the neighbours' votes, ``(n_cells, n_classes)`` float32.

        A vote weighs exp(-(d / d̄)²), d̄ the cell's mean distance to its neighbours. Every class of
        the reference has a tenth of a vote in advance, so that no share is zero.
        """
        nearest, distance = self.search(X, n_neighbors)
        mean = np.maximum(distance.mean(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        weight = np.exp(-((distance / mean) ** 2))
        votes = np.zeros((len(X), self.n_classes))
        np.add.at(votes, (np.arange(len(X))[:, None], self.y[nearest]), weight)
        present = np.bincount(self.y, minlength=self.n_classes) > 0
        votes[:, present] += 0.1 * weight.mean(axis=1, keepdims=True)
        with np.errstate(divide="ignore"):
            return np.log(votes / votes.sum(axis=1, keepdims=True)).astype(np.float32)

    @cached_property
    def _index(self) -> NNDescent:
        from pynndescent import NNDescent  # compiles for ten seconds when imported

        return NNDescent(self.X, metric="euclidean", random_state=0, n_jobs=-1)

    @cached_property
    def _square(self) -> np.ndarray:
        return np.einsum("nd,nd->n", self.X, self.X)

    def _exact(self, X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        square = np.einsum("nd,nd->n", X, X)[:, None] + self._square - 2 * (X @ self.X.T)
        nearest = np.argpartition(square, k - 1, axis=1)[:, :k]
        distance = np.sqrt(np.maximum(np.take_along_axis(square, nearest, axis=1), 0))
        order = np.argsort(distance, axis=1, kind="stable")
        return np.take_along_axis(nearest, order, 1), np.take_along_axis(distance, order, 1)
