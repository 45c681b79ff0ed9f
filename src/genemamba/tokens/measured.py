"""Which genes cells measure, and how many of their counts these hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .genes import GeneMatch

MUCH_LOST = 0.1
"""Share of the counts on genes that are not used, from which it matters."""
_MOST = 20_000  # cells after which no further block is read


@dataclass(frozen=True, eq=False)
class Measured:
    """The genes of some cells that the model knows, and their shares of the counts."""

    tokens: np.ndarray
    """``(n_genes,)`` int32, ascending."""
    share: np.ndarray
    """``(n_genes,)`` float32, the mean share of a cell's counts; unknown genes have the rest."""

    @property
    def unknown(self) -> float:
        """The share of counts on genes that the model does not know."""
        return float(max(0.0, 1 - self.share.sum(dtype=np.float64)))

    def elsewhere(self, tokens: np.ndarray) -> float:
        """Return the share of the counts on known genes that is not on these genes."""
        total = self.share.sum(dtype=np.float64)
        missing = self.share[~np.isin(self.tokens, tokens)].sum(dtype=np.float64)
        return float(missing / total) if total > 0 else 0.0


def measure(blocks: Iterable[sparse.csr_matrix], genes: GeneMatch) -> Measured:
    """Find the share of each known gene in blocks of counts; columns of one gene are added."""
    share, n_cells = np.zeros(len(genes.token)), 0
    for block in blocks:
        part = sparse.csr_matrix(block, dtype=np.float64)
        total = np.asarray(part.sum(axis=1)).ravel()
        share += (1 / np.where(total > 0, total, 1)) @ part
        n_cells += part.shape[0]
        if n_cells >= _MOST:
            break
    known = genes.token >= 0
    tokens, place = np.unique(genes.token[known], return_inverse=True)
    summed = np.bincount(place, share[known] / max(1, n_cells), minlength=len(tokens))
    return Measured(tokens.astype(np.int32), summed.astype(np.float32))
