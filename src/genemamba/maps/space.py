"""Where cells lie on a map: vectors made of their embedding, and their expression.

Two views of a cell are joined, the model's embedding and principal components of expression (scaled
to length 1, which takes depth out), both with equal spread. Discriminants of the map's labels
(Fisher 1936) have unit variance inside a class; batches that differ inside a class widen that
variance, so axes along which they differ count less. Beside them stand the widest axes inside
classes, for finer types than the labels tell.

A cell's vector depends on that cell alone, to the last bit: sparse products add the terms of a row
in order, whatever other rows there are; those of BLAS depend on the block.

Shapes: N cells, D dimensions of the embedding, P components, W of the map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genemamba.heads.components import Components
from genemamba.heads.discriminant import class_means, inside, shrunken

Floats = NDArray[np.float64]

N_COMPONENTS = 100
_SHRINKAGE = 0.3  # of the covariance inside classes towards a multiple of the identity
_N_REST, _REST_SPREAD = 30, 2.0  # axes inside classes; their spread there against discriminants'
_ROUNDS, _RIDGE, _SOFTNESS = 3, 20.0, 0.3
"""Of the correction: cells that a shift has to outweigh, and how soft clusters are."""
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Space:
    """Makes vectors of a map; all arrays are float64, with values that float32 can hold."""

    centre: Floats
    """``(D,)`` the mean embedding of the map."""
    scale: Floats
    """``(2,)`` what the embedding and the components are multiplied with."""
    middle: Floats
    """``(D + P,)``"""
    axes: Floats
    """``(D + P, W)``; ``(D, 0)`` if vectors are embeddings as they are."""
    means: Floats
    """``(n_classes, W)`` of the map's classes, to which a query is corrected; none without."""
    width: Floats
    """``(1,)`` variance with which the membership of a class falls off."""
    components: Components | None = None
    """Of expression; None if vectors are made of the embedding alone."""

    @classmethod
    def fit(
        cls,
        embedding: np.ndarray,
        expressed: np.ndarray | None,
        codes: np.ndarray,
        components: Components | None,
    ) -> Space:
        """Fit to some cells of a map, their components, and their classes (-1 for none)."""
        embedding = embedding.astype(np.float64)
        centre = embedding.mean(axis=0)
        parts = [embedding - centre, *([] if expressed is None else [_unit(expressed)])]
        scale = np.array([1 / np.sqrt(max(part.var(axis=0).sum(), _TINY)) for part in parts])
        joined = np.hstack([w * part for w, part in zip(scale, parts, strict=True)])
        middle = joined.mean(axis=0)
        axes = _axes(joined - middle, codes)
        means, width = _clusters(_by_row(joined - middle, axes), codes)
        return cls(
            _stored(centre), _stored(scale), _stored(middle), _stored(axes), _stored(means),
            _stored(width), components,
        )  # fmt: skip

    @classmethod
    def plain(cls, embedding: np.ndarray, codes: np.ndarray) -> Space:
        """Return a space whose vectors are embeddings as they are."""
        n = embedding.shape[1]
        means, width = _clusters(embedding.astype(np.float64), codes)
        zeros, none = np.zeros(n), np.empty((n, 0))
        return cls(zeros, np.ones(1), zeros, none, _stored(means), _stored(width))

    @property
    def n_axes(self) -> int:
        """The length of a vector."""
        return self.axes.shape[1] or len(self.centre)

    def place(self, embedding: np.ndarray, expressed: np.ndarray | None) -> np.ndarray:
        """Return the vectors of cells, ``(N, W)`` float32; NaN where the embedding is."""
        if not self.axes.shape[1]:
            return embedding.astype(np.float32)
        known = np.isfinite(embedding).all(axis=1)
        out = np.full((len(embedding), self.axes.shape[1]), np.nan, dtype=np.float32)
        parts = [self.scale[0] * (embedding[known].astype(np.float64) - self.centre)]
        if expressed is not None:
            parts.append(self.scale[1] * _unit(expressed[known]))
        out[known] = _by_row(np.hstack(parts) - self.middle, self.axes)
        return out

    def corrected(self, X: np.ndarray, batch: np.ndarray) -> np.ndarray:
        """Shift the vectors of each batch onto the clusters of the map, which stays as it is.

        The shift of a cluster and batch is a ridge estimate: the mean of its cells less the map's,
        times n / (n + 20), n the sum of memberships (Kang et al., 2021).
        """
        before = X.astype(np.float64)
        moved = before
        for _ in range(_ROUNDS):
            share = self._share(moved)
            moved = before.copy()
            for code in np.unique(batch):
                cells = np.flatnonzero(batch == code)
                n = share[cells].sum(axis=0)[:, None]
                mean = share[cells].T @ before[cells] / np.maximum(n, _TINY)
                moved[cells] -= share[cells] @ ((mean - self.means) * n / (n + _RIDGE))
        return moved.astype(np.float32)

    def _share(self, X: Floats) -> Floats:
        """Return the memberships of cells in the clusters, ``(N, n_classes)``."""
        far = np.stack([((X - mean) ** 2).sum(axis=1) for mean in self.means], axis=1)
        share = np.exp(-(far - far.min(axis=1, keepdims=True)) / (2 * self.width))
        return np.asarray(share / share.sum(axis=1, keepdims=True))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays, to be written."""
        own = {name: a for name, a in vars(self).items() if name != "components"}
        of = {} if self.components is None else vars(self.components)
        written = {f"space.{name}": a.astype(np.float32) for name, a in own.items()}
        return written | {f"components.{name}": a for name, a in of.items()}

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray]) -> Space:
        """Return the space of arrays that were written; a missing one raises KeyError."""
        of = {n.removeprefix("components."): np.array(a) for n, a in arrays.items()
              if n.startswith("components.")}  # fmt: skip
        own = {n.removeprefix("space."): np.array(a, dtype=np.float64) for n, a in arrays.items()
               if n.startswith("space.")}  # fmt: skip
        return cls(**own, components=Components(**of) if of else None)


def _stored(array: Floats) -> Floats:
    return array.astype(np.float32).astype(np.float64)


def _axes(X: Floats, codes: np.ndarray) -> Floats:
    """Return discriminant axes and, beside them, the widest axes inside classes."""
    seen = codes >= 0
    known, own = X[seen], np.unique(codes[seen], return_inverse=True)[1]
    if len(own) - len(np.unique(own)) < min(_N_REST, len(X) // 2):  # too few tell what is inside
        known, own = X, np.zeros(len(X), dtype=np.intp)
    means, scatter = inside(known, own)
    variance, turn = np.linalg.eigh(shrunken(scatter, _SHRINKAGE))
    whiten = turn / np.sqrt(np.maximum(variance, _TINY * max(variance[-1], _TINY)))
    between = (means - means.mean(axis=0)) @ whiten
    _, strength, right = np.linalg.svd(between, full_matrices=False)
    n = int((strength[: len(means) - 1] > 1e-9).sum())
    discriminants = whiten @ right[:n].T
    wide, widest = np.linalg.eigh(scatter)
    rest = widest[:, ::-1][:, :_N_REST]
    if n:
        unit = np.trace(discriminants.T @ scatter @ discriminants)
        rest = rest * _REST_SPREAD * np.sqrt(unit / max(wide[-_N_REST:].sum(), _TINY))
    return _signed(np.hstack([discriminants, rest]))


def _clusters(X: Floats, codes: np.ndarray) -> tuple[Floats, Floats]:
    """Return the means of classes, and the variance with which their membership falls off."""
    seen = codes >= 0
    if not seen.any():
        return np.empty((0, X.shape[1])), np.ones(1)
    own = np.unique(codes[seen], return_inverse=True)[1]
    means = class_means(X[seen], own)
    spread = ((X[seen] - means[own]) ** 2).sum(axis=1).mean()
    return means, np.array([max(_SOFTNESS * spread, _TINY)])


def _unit(expressed: np.ndarray) -> Floats:
    """Return the first components, scaled to length 1."""
    first = expressed[:, :N_COMPONENTS].astype(np.float64)
    length = np.sqrt(np.einsum("np,np->n", first, first, optimize=False))
    return first / np.maximum(length, _TINY)[:, None]


def _by_row(X: Floats, axes: Floats) -> Floats:
    return np.asarray(sparse.csr_matrix(X) @ np.ascontiguousarray(axes))


def _signed(axes: Floats) -> Floats:
    """Choose the sign of axes, so that the entry largest in size is positive."""
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return np.ascontiguousarray(axes * np.where(largest < 0, -1, 1))
