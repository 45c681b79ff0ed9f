"""Count matrices on disk, read block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from genemamba.cells.counts import is_gene, only_genes, rows_of
from genemamba.cells.files import opened
from genemamba.datasets._labels import LabelTable
from genemamba.errors import InputError
from genemamba.tokens import as_csr


@dataclass(frozen=True, eq=False)
class CellFile:
    """One h5ad or zarr file of cells × genes; only its tables are in memory."""

    path: Path
    obs: pd.DataFrame
    var: pd.DataFrame
    label: np.ndarray
    """``(n_cells,)`` int16, an index into the labels of the corpus; -1 for none."""

    @property
    def profile(self) -> np.ndarray:
        """``(n_cells,)`` int32, the profile of each cell; -1 for real cells."""
        return np.full(len(self.obs), -1, dtype=np.int32)

    def measured(self, library: str) -> np.ndarray:
        """Return the columns that a library measures, ``(n_vars,)`` bool."""
        return np.ones(len(self.var), dtype=bool)

    @classmethod
    def open(cls, path: Path, labels: LabelTable) -> CellFile:
        """Read the tables of cells and genes."""
        with opened(path) as adata:
            if adata.X is None:
                raise _unreadable(path, "it has no X")
            label = labels.of(path.stem, adata.obs.get("cell_type"), adata.n_obs)
            return cls(path, adata.obs, adata.var, label)

    @property
    def genes(self) -> np.ndarray | None:
        """Which columns are genes; None if all are."""
        return is_gene(self.var)

    @property
    def samples(self) -> np.ndarray:
        """``(n_cells,)`` str, the library of each cell: ``obs["sample"]``, or one for all."""
        if "sample" not in self.obs:
            return np.full(len(self.obs), "all")
        return self.obs["sample"].astype(str).to_numpy(dtype=str)

    def blocks(self, n_cells: int, first: int = 0) -> Iterator[sparse.csr_matrix]:
        """Yield the values of `n_cells` cells at a time, from cell `first`, a multiple of it."""
        try:
            with opened(self.path) as adata:
                rows = rows_of(adata.X)
                for start in range(first, len(self.obs), n_cells):
                    yield self._checked(rows(start, start + n_cells))
        except InputError:
            raise
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise _unreadable(self.path, error) from None

    def _checked(self, rows: Any) -> sparse.csr_matrix:
        block = sparse.csr_matrix(as_csr(rows))
        # compiled code would read other memory
        if block.nnz and not 0 <= block.indices.min() <= block.indices.max() < len(self.var):
            raise _unreadable(self.path, f"X has entries beyond its {len(self.var)} columns")
        return sparse.csr_matrix(only_genes(block, self.genes))


def _unreadable(path: Path, why: object) -> InputError:
    return InputError(
        f"{path} cannot be read as an AnnData file: {why}",
        "copy the file again, or leave it out",
    )
