"""Principal components of the expression of reference cells, and of other cells on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import eigh

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
        product = np.zeros((len(place), len(place)))
        for dense in unrotated._standardised(logged, np.ones(len(basis), dtype=bool)):
            product += dense.T @ dense
        n = max(1, min(MOST_COMPONENTS, len(place), logged.shape[0] - 1))
        vectors = eigh(product, subset_by_index=[len(place) - n, len(place) - 1])[1]
        loading = np.ascontiguousarray(vectors[:, ::-1], dtype=np.float32)
        return cls(basis, place, unrotated.mean, unrotated.scale, loading)

    def of(self, logged: sparse.csr_matrix, measured: np.ndarray) -> np.ndarray:
        """Return the components of other cells, ``(n_cells, n_components)`` float32.

        A gene of `basis` that is not `measured`, ``(n_basis,)`` bool, counts as the mean.
        """
        parts = [dense @ self.loading for dense in self._standardised(logged, measured)]
        return np.concatenate(parts) if parts else np.empty((0, self.loading.shape[1]), np.float32)

    def _standardised(self, logged: sparse.csr_matrix, measured: np.ndarray):  # type: ignore[no-untyped-def]
        there = measured[self.place]
        for start in range(0, logged.shape[0], _BLOCK):
            dense = logged[start : start + _BLOCK][:, self.place].toarray()
            dense = np.clip((dense - self.mean) / self.scale, -_FARTHEST, _FARTHEST)
            dense[:, ~there] = 0
            yield dense.astype(np.float32)
