"""Principal components of the expression of reference cells, and of other cells on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits

MOST_COMPONENTS = 200
"""As many components of 2,000 genes predict cell types as well as the genes do."""
_FARTHEST = 10.0  # standard deviations; a larger value says no more
_BLOCK = 4_096  # cells that are dense at a time


@dataclass(frozen=True, eq=False)
class Components:
    """Components of log-normalised, standardised expression; not scaled to equal variance.

    A penalty on regression weights then acts as it does on the genes themselves.
    """

    basis: np.ndarray
    """``(n_basis,)`` int64 tokens, sorted; counts are normalised over these genes."""
    place: np.ndarray
    """``(n_genes,)`` the genes of the components, as positions in `basis`."""
    mean: np.ndarray
    scale: np.ndarray
    """``(n_genes,)`` float32, of the reference cells."""
    loading: np.ndarray
    """``(n_genes, n_components)`` float32."""

    @classmethod
    def fit(cls, logged: sparse.csr_matrix, basis: np.ndarray, place: np.ndarray) -> Components:
        """Fit to log-normalised expression, cells × `basis`."""
        own = logged[:, place]
        mean = np.asarray(own.mean(axis=0), dtype=np.float64).ravel()
        square = np.asarray(own.multiply(own).mean(axis=0), dtype=np.float64).ravel()
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        scale = np.where(spread > 1e-6, spread, 1)
        eye = np.eye(len(place), dtype=np.float32)
        unrotated = cls(basis, place, mean.astype(np.float32), scale.astype(np.float32), eye)
        n = max(1, min(MOST_COMPONENTS, len(place), logged.shape[0] - 1))
        blocks = unrotated._standardised(logged)
        with threadpool_limits(1):  # on a busy machine threads wait for each other
            if logged.shape[0] < len(place):
                loading = _few(np.concatenate([*blocks]), n)
            else:
                loading = _many(blocks, len(place), n)
        return cls(basis, place, unrotated.mean, unrotated.scale, loading)

    def first(self, n: int) -> Components:
        """Return the first `n` components."""
        return replace(self, loading=np.ascontiguousarray(self.loading[:, :n]))

    def of(self, logged: sparse.csr_matrix, measured: np.ndarray) -> np.ndarray:
        """Return the components of other cells, ``(n_cells, n_components)`` float32.

        A gene of `basis` that is not `measured`, ``(n_basis,)`` bool, counts as the mean. They are
        those of a cell without counts, and what each count adds: a cell's do not depend on others.
        """
        own = sparse.csr_matrix(logged[:, self.place], dtype=np.float64)
        own.sort_indices()
        nothing = np.maximum(-self.mean / self.scale, -_FARTHEST).astype(np.float64)
        there, gene = measured[self.place], own.indices
        value = np.minimum((own.data - self.mean[gene]) / self.scale[gene], _FARTHEST)
        added = sparse.csr_matrix(
            ((value - nothing[gene]) * there[gene], gene, own.indptr), shape=own.shape
        )
        empty = ((nothing * there)[:, None] * self.loading).sum(axis=0)
        return np.asarray(added @ self.loading.astype(np.float64) + empty, dtype=np.float32)

    def _standardised(self, logged: sparse.csr_matrix) -> Iterator[np.ndarray]:
        for start in range(0, logged.shape[0], _BLOCK):
            dense = logged[start : start + _BLOCK][:, self.place].toarray()
            dense = np.clip((dense - self.mean) / self.scale, -_FARTHEST, _FARTHEST)
            yield dense.astype(np.float32)


def _many(blocks: Iterable[np.ndarray], n_genes: int, n: int) -> np.ndarray:
    """Return the first `n` principal axes, ``(n_genes, n)``."""
    product = np.zeros((n_genes, n_genes))
    for dense in blocks:
        product += dense.T @ dense
    return _leading(product, n)


def _few(dense: np.ndarray, n: int) -> np.ndarray:
    """Return the same by the products of cells, of which there are fewer than genes."""
    axes = dense.T @ _leading((dense @ dense.T).astype(np.float64), n)
    length = np.linalg.norm(axes, axis=0)
    return np.ascontiguousarray(axes / np.where(length > 0, length, 1), dtype=np.float32)


def _leading(product: np.ndarray, n: int) -> np.ndarray:
    """Return the eigenvectors of the `n` largest eigenvalues, the largest first, as float32."""
    last = len(product)
    vectors = eigh(product, subset_by_index=[last - n, last - 1])[1]
    return np.ascontiguousarray(vectors[:, ::-1], dtype=np.float32)
