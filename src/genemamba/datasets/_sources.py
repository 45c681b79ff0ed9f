"""Count matrices on disk, read block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from genemamba.errors import InputError
from genemamba.tokens import as_csr


@dataclass(frozen=True, eq=False)
class Source:
    """One h5ad or zarr file of cells × genes, of which nothing but the tables is in memory."""

    path: Path
    obs: pd.DataFrame
    var: pd.DataFrame

    @classmethod
    def open(cls, path: Path) -> Source:
        """Read the tables of cells and genes.

        Raises
        ------
        InputError
            If the file is missing, truncated, or holds no AnnData.
        """
        try:
            with _Group(path) as group:
                obs, var = (ad.io.read_elem(group[name]) for name in ("obs", "var"))
                shape = _shape(group["X"])
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise _unreadable(path, error) from None
        if shape != (len(obs), len(var)):
            raise _unreadable(path, f"X is {shape}, obs and var say {len(obs)} × {len(var)}")
        return cls(path, obs, var)

    @property
    def samples(self) -> np.ndarray:
        """``(n_cells,)`` str, the library of each cell: ``obs["sample"]``, or one for all."""
        if "sample" not in self.obs:
            return np.full(len(self.obs), "all")
        return self.obs["sample"].astype(str).to_numpy(dtype=str)

    def blocks(self, n_cells: int, first: int = 0) -> Iterator[sparse.csr_matrix]:
        """Yield the values of so many cells at a time, from a multiple of `n_cells` on."""
        try:
            with _Group(self.path) as group:
                rows = _rows(group["X"])
                for start in range(first, len(self.obs), n_cells):
                    yield self._checked(rows(start, start + n_cells))
        except InputError:
            raise
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise _unreadable(self.path, error) from None

    def _checked(self, rows: Any) -> sparse.csr_matrix:
        block = sparse.csr_matrix(as_csr(rows))
        # compiled code would read foreign memory
        if block.nnz and not 0 <= block.indices.min() <= block.indices.max() < len(self.var):
            raise _unreadable(self.path, f"X has entries beyond its {len(self.var)} columns")
        return block


def _rows(x: Any) -> Callable[[int, int], Any]:
    """Return what reads some rows of a matrix on disk."""
    if hasattr(x, "shape"):  # dense
        return lambda start, end: x[start:end]
    if x.attrs["encoding-type"] == "csc_matrix":  # its rows are everywhere in the file
        matrix = ad.io.sparse_dataset(x).to_memory().tocsr()
        return lambda start, end: matrix[start:end]
    starts, indices, data, shape = x["indptr"][:], x["indices"], x["data"], _shape(x)

    def rows(start: int, end: int) -> sparse.csr_matrix:
        # slices of sparse_dataset look up the version of anndata, 9 ms each time
        own = starts[start : end + 1]
        part = slice(int(own[0]), int(own[-1]))
        return sparse.csr_matrix(
            (data[part], indices[part], own - own[0]), shape=(len(own) - 1, shape[1])
        )

    return rows


class _Group:
    """The root of an h5ad or zarr file, closed in the end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Any:
        self.file: h5py.File | None = None
        if self.path.suffix == ".zarr":
            import zarr

            return zarr.open_group(str(self.path), mode="r")
        self.file = h5py.File(self.path, "r")
        return self.file

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in (x.shape if hasattr(x, "shape") else x.attrs["shape"]))


def _unreadable(path: Path, why: object) -> InputError:
    return InputError(
        f"{path} cannot be read as an AnnData file: {why}",
        "copy the file again, or leave it out",
    )
