"""Labelled reference cells, and classification by the nearest ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from genemamba._machine import same_threads

if TYPE_CHECKING:
    from pynndescent import NNDescent

VOTERS, NEAREST = 30, 10
ADVANCE = 0.1
"""Votes that each class gets in advance, so that no share is zero."""
_SHARPNESS = 5.0
EXACT_UP_TO = 20_000
"""Reference cells up to which all distances are computed instead of an index."""
Neighbours = tuple[np.ndarray, np.ndarray]
_BLOCK = 1024  # cells whose distances to all reference cells are in memory at once


def nearness(distance: np.ndarray) -> np.ndarray:
    """Return how much each neighbour counts, exp(-5 (d / d̄)²); d̄ is a cell's mean distance."""
    mean = np.maximum(np.nanmean(distance, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return np.exp(-_SHARPNESS * (distance / mean) ** 2)


@dataclass(frozen=True, eq=False)
class Reference:
    """Reference cells with their classes."""

    X: np.ndarray
    """``(n_cells, n_features)`` float32, finite."""
    y: np.ndarray
    """``(n_cells,)`` class codes; -1 for a cell without a class, used for novelty only."""
    n_classes: int
    """Number of classes, including those without a cell."""

    @classmethod
    def unlabelled(cls, X: np.ndarray) -> Reference:
        """Return cells without classes."""
        return cls(X, np.full(len(X), -1), 0)

    def search(self, X: np.ndarray, k: int) -> Neighbours:
        """Return indices and Euclidean distances of the `k` nearest, nearest first."""
        k = min(k, len(self.X))
        if len(self.X) > EXACT_UP_TO:
            with same_threads():
                index, distance = self._index.query(X, k=k)
            return index, distance
        blocks = [self._exact(X[i : i + _BLOCK], k) for i in range(0, len(X), _BLOCK)]
        index, distance = (np.concatenate(part) for part in zip(*blocks, strict=True))
        return index, distance

    def mean_distance(self, X: np.ndarray, n_nearest: int = NEAREST) -> np.ndarray:
        """Return each cell's mean distance to its nearest reference cells; NaN where `X` is."""
        out = np.full(len(X), np.nan, dtype=np.float32)
        known = np.isfinite(X).all(axis=1)
        if known.any():
            out[known] = self.search(X[known], n_nearest)[1].mean(axis=1)
        return out

    def logits(self, X: np.ndarray, n_neighbors: int = VOTERS) -> np.ndarray:
        """Return log shares of the neighbours' votes, ``(n_cells, n_classes)`` float32.

        Votes are weighted by :func:`nearness`. Every class of the reference gets a tenth of a vote
        in advance, so that no share is zero.
        """
        voters = np.bincount(self.y, minlength=self.n_classes)
        return self.votes(self.search(X, n_neighbors), voters)

    def voters(self, fold: np.ndarray) -> np.ndarray:
        """Count the cells of each class outside each fold, ``(n_folds, n_classes)``."""
        counts = np.zeros((fold.max() + 1, self.n_classes), dtype=np.intp)
        np.add.at(counts, (fold, self.y), 1)
        return counts.sum(axis=0) - counts

    def votes(self, found: Neighbours, voters: np.ndarray) -> np.ndarray:
        """Return the logits of cells with these neighbours; -inf for classes without voters."""
        nearest, distance = found
        weight = nearness(distance)
        advance = ADVANCE * np.nanmean(weight, axis=1, keepdims=True)
        votes = np.zeros((len(nearest), self.n_classes))
        rows = np.arange(len(nearest))[:, None]
        np.add.at(votes, (rows, self.y[nearest]), np.nan_to_num(weight))
        votes += np.where(voters > 0, advance, 0)
        with np.errstate(divide="ignore"):
            return np.log(votes / votes.sum(axis=1, keepdims=True)).astype(np.float32)

    def without(
        self, X: np.ndarray, found: Neighbours, fold: np.ndarray, out: np.ndarray
    ) -> Neighbours:
        """Return the nearest voters that are not in the cell's fold `out`.

        They are selected from twice as many neighbours, or searched again if too many of these are
        in that fold. Distances are NaN where a small reference has no more cells.
        """
        index, k = found[0], VOTERS
        other = fold[index] != out[:, None]
        first = np.argsort(~other, axis=1, kind="stable")[:, :k]
        index, distance = (np.take_along_axis(part, first, 1) for part in found)
        few = other.sum(axis=1) < k
        for code in np.unique(out[few]):
            rows, rest = np.flatnonzero(few & (out == code)), np.flatnonzero(fold != code)
            nearest, far = Reference(self.X[rest], self.y[rest], self.n_classes).search(X[rows], k)
            distance[rows] = np.nan
            index[rows, : nearest.shape[1]] = rest[nearest]
            distance[rows, : nearest.shape[1]] = far
        return index, distance

    @cached_property
    def _index(self) -> NNDescent:
        from pynndescent import NNDescent  # compiles for ten seconds when imported

        with same_threads():
            return NNDescent(self.X, metric="euclidean", random_state=0, n_jobs=-1)

    def _exact(self, X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        lengths, own = (np.einsum("nd,nd->n", cells, cells) for cells in (X, self.X))
        square = lengths[:, None] + own - 2 * (X @ self.X.T)
        nearest = np.argpartition(square, k - 1, axis=1)[:, :k]
        distance = np.sqrt(np.maximum(np.take_along_axis(square, nearest, axis=1), 0))
        order = np.argsort(distance, axis=1, kind="stable")
        return np.take_along_axis(nearest, order, 1), np.take_along_axis(distance, order, 1)
