"""Medians of each gene by t-digests, the method of the paper."""

from __future__ import annotations

from collections import defaultdict
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy import sparse

from genemamba.errors import InputError

from .digests import SCALE

_DELTA, _K = 0.002, 5  # exact up to a thousand cells; at most 2,500 centroids a gene


class TDigests:
    """Like :class:`~genemamba.tokens.digests.GeneDigests`, with the package `tdigest`."""

    def __init__(self, n_genes: int) -> None:
        if find_spec("tdigest") is None:
            raise InputError(
                "method='tdigest' needs the package tdigest, which is not installed",
                "pip install 'genemamba[tdigest]', or use method='exact'",
            )
        from tdigest import TDigest

        self.n_genes = n_genes
        self._digests: dict[int, Any] = defaultdict(lambda: TDigest(_DELTA, _K))

    def add(self, counts: sparse.csr_matrix | sparse.csr_array, total: np.ndarray) -> None:
        """Add cells: counts (cells × genes) and the total count of each cell."""
        scale = SCALE / np.where(total > 0, total, 1)
        columns = sparse.csc_matrix(counts.multiply(scale[:, None]))
        for gene in np.flatnonzero(np.diff(columns.indptr)).tolist():
            values = columns.data[columns.indptr[gene] : columns.indptr[gene + 1]]
            for value in values[values > 0].tolist():
                self._digests[gene].update(value)

    def merge(self, other: TDigests) -> None:
        """Add the cells of another."""
        for gene, digest in other._digests.items():
            self._digests[gene] = self._digests[gene] + digest

    def medians(self) -> np.ndarray:
        """``(n_genes,)`` float64; NaN for genes that no cell expresses."""
        out = np.full(self.n_genes, np.nan)
        for gene, digest in self._digests.items():
            if digest.n >= 2 / _DELTA:
                out[gene] = digest.percentile(50)
            else:  # exact: each centroid is one value, perhaps repeated
                means, n = zip(*((c.mean, c.count) for c in digest.C.values()), strict=True)
                out[gene] = np.median(np.repeat(means, np.array(n, dtype=int)))
        return out
