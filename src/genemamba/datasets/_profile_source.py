"""A file of average profiles, read as cells drawn from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from genemamba.datasets._labels import LabelTable
from genemamba.datasets._profiles import Profiles, shares
from genemamba.datasets._sources import CellFile
from genemamba.errors import InputError

CELLS = 40  # kept per profile, for medians, gene vectors and validation
MEASURED = "genes_measured"


@dataclass(frozen=True, eq=False)
class ProfileFile(CellFile):
    """One h5ad file of profiles × genes, with one library for each of its tables.

    ``obs["table"]`` gives the table of each profile, ``obs["cell_type"]`` the cell type, and
    ``uns["genes_measured"]`` the columns that each table measures; without it, those that some
    profile of the table expresses.
    """

    profiles: Profiles
    first: int
    """Number of the first profile of this file, counted over all files."""
    columns: dict[str, np.ndarray]
    """The columns that each table measures."""

    @classmethod
    def read(cls, path: Path, labels: LabelTable, first: int) -> ProfileFile:
        """Read the profiles."""
        try:
            adata = ad.read_h5ad(path)
            table = adata.obs["table"].astype(str).to_numpy()
            x = sparse.csr_matrix(adata.X).astype(np.float64)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{path} cannot be read as profiles: {error}",
                "give an .h5ad file of profiles × genes with obs['table'] and obs['cell_type']",
            ) from None
        bad = ~(np.isfinite(x.data) & (x.data >= 0))
        if bad.any():
            profile = adata.obs_names[np.searchsorted(x.indptr, np.argmax(bad), side="right") - 1]
            raise InputError(
                f"{path}: profile {profile!r} has values that are negative or not finite",
                "give mean expression, not logged and not scaled, or leave the file out",
            )
        if (x.getnnz(axis=1) == 0).any():
            profile = adata.obs_names[int(np.argmin(x.getnnz(axis=1)))]
            raise InputError(f"{path}: profile {profile!r} expresses no gene", "leave it out")
        names, number = np.unique(table, return_inverse=True)
        given = adata.uns.get(MEASURED, {})
        columns = {
            name: np.asarray(given[name])
            if name in given
            else np.flatnonzero(x[table == name].getnnz(axis=0))
            for name in names.tolist()
        }
        obs = pd.DataFrame({"sample": np.repeat(table, CELLS)})
        label = np.full(len(table), -1, dtype=np.int16)
        for name in names.tolist():
            own = table == name
            label[own] = labels.of(name, adata.obs.get("cell_type")[own], int(own.sum()))
        profiles = Profiles(shares(x), number)
        return cls(path, obs, adata.var, np.repeat(label, CELLS), profiles, first, columns)

    @property
    def profile(self) -> np.ndarray:
        """``(n_cells,)`` int32, the profile of each cell."""
        return (self.first + np.arange(len(self.obs)) // CELLS).astype(np.int32)

    def measured(self, library: str) -> np.ndarray:
        """Return the columns that a table measures, ``(n_vars,)`` bool."""
        out = np.zeros(len(self.var), dtype=bool)
        out[self.columns[library.partition("/")[2]]] = True
        return out

    def blocks(self, n_cells: int, first: int = 0) -> Iterator[sparse.csr_matrix]:
        """Draw `n_cells` cells at a time; the same ones from any start."""
        for start in range(first, len(self.obs), n_cells):
            cells = np.arange(start, min(start + n_cells, len(self.obs)))
            yield self.profiles.draw(cells // CELLS, np.random.default_rng(start))
