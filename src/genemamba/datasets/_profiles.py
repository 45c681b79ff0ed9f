"""Average profiles of cell types, and cells drawn from them.

A cell has log-uniform depth, gamma noise on each gene, and part of the mean of its table as ambient
RNA; counts are then Poisson. Genes that the table does not measure are never drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import sparse

from genemamba._files import load_arrays, replacing

DEPTHS = 800, 15_000  # counts of a cell
GAMMA = 1.5  # shape of the noise; its coefficient of variation is .82
AMBIENT = 1, 20  # Beta distribution of the share of ambient RNA, 5 % on average


@dataclass(frozen=True, eq=False)
class Profiles:
    """Mean expression of cell types, in tables that measure different genes."""

    expression: sparse.csr_matrix
    """Profiles × genes; each row sums to 1."""
    table: np.ndarray
    """``(n_profiles,)`` int, the table of each."""

    @cached_property
    def ambient(self) -> sparse.csr_matrix:
        """Tables × genes: the mean of the profiles of each table."""
        member = sparse.csr_matrix(
            (self.table == np.arange(self.table.max() + 1)[:, None]).astype(np.float64)
        )
        return sparse.csr_matrix(sparse.diags(1 / member.sum(1).A1) @ member @ self.expression)

    def draw(self, profiles: np.ndarray, rng: np.random.Generator) -> sparse.csr_matrix:
        """Draw one cell from each of some profiles, cells × genes, int32 counts."""
        n, n_genes = len(profiles), self.expression.shape[1]
        share = rng.beta(*AMBIENT, n)
        low, high = np.log(DEPTHS)
        depth = np.exp(rng.uniform(low, high, n))
        mean = sparse.diags(1 - share) @ self.expression[profiles]
        mean = sparse.csr_matrix(mean + sparse.diags(share) @ self.ambient[self.table[profiles]])
        mean.sort_indices()
        mean.data *= rng.standard_gamma(GAMMA, mean.nnz)
        scale = depth / np.maximum(mean.sum(axis=1).A1, 1e-12)
        counts = rng.poisson(mean.data * np.repeat(scale, np.diff(mean.indptr))).astype(np.int32)
        drawn = sparse.csr_matrix((counts, mean.indices, mean.indptr), shape=(n, n_genes))
        drawn.eliminate_zeros()
        return drawn

    def on_genes(self, gene: np.ndarray, n_genes: int) -> Profiles:
        """Move the profiles to other columns; `gene` is the new column of each, or -1."""
        kept = np.flatnonzero(gene >= 0)
        entries = (np.ones(len(kept)), (kept, gene[kept]))
        moved = self.expression @ sparse.csr_matrix(entries, shape=(len(gene), n_genes))
        return Profiles(shares(sparse.csr_matrix(moved)), self.table)

    def save(self, file: Path) -> None:
        """Write the arrays, whole or not at all."""
        e = self.expression
        arrays = {"data": e.data.astype(np.float32), "indices": e.indices, "indptr": e.indptr}
        with replacing(file) as new, new.open("wb") as out:
            np.savez(out, shape=np.array(e.shape), table=self.table, **arrays)

    @classmethod
    def load(cls, file: Path) -> Profiles:
        """Read what :meth:`save` has written."""
        data, indices, indptr, shape, table = load_arrays(
            file, "data", "indices", "indptr", "shape", "table"
        )
        arrays = data.astype(np.float64), indices, indptr
        return cls(sparse.csr_matrix(arrays, shape=tuple(shape)), table)

    @classmethod
    def joined(cls, parts: list[Profiles]) -> Profiles:
        """Concatenate the profiles of several files."""
        first = np.cumsum([0, *(part.table.max() + 1 for part in parts)])
        table = [part.table + n for part, n in zip(parts, first[:-1], strict=True)]
        expression = sparse.vstack([part.expression for part in parts], format="csr")
        return cls(sparse.csr_matrix(expression), np.concatenate(table))


def shares(expression: sparse.csr_matrix) -> sparse.csr_matrix:
    """Scale each row to sum to 1; a row of zeros stays."""
    total = expression.sum(axis=1).A1
    return sparse.csr_matrix(sparse.diags(1 / np.where(total > 0, total, 1)) @ expression)
