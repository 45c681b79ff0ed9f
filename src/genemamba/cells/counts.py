"""Counts of an AnnData in memory, in a file, or in dask chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from genemamba._labels import NONE
from genemamba.errors import InputError
from genemamba.tokens import Values, as_csr, judge, linear, recheck

BLOCK = 1_024  # cells read, embedded and stored at a time
_PIECES, _PIECE = 16, 64  # what is looked at of counts that are not in memory
_GENES = {"gene expression", "expression", "gene", "genes", "gex", "mrna", "rna", "transcript",
          "transcripts", "transcriptome"}  # fmt: skip
_OTHERS = {"adt", "adts", "antibody", "antibodies", "antibody capture", "antigen capture", "atac",
           "bcr", "chromatin accessibility", "crispr", "crispr guide capture", "custom", "grna",
           "guide", "guides", "hashtag", "hashtags", "hto", "htos", "multiplexing capture", "peak",
           "peaks", "protein", "proteins", "sgrna", "surface protein", "tcr", "vdj"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Counts:
    """Cells × genes, the kind of values found, and access to them.

    Attributes
    ----------
    matrix
        As the AnnData has it; a CSR matrix if it is in memory.
    var
        The table of its genes.
    values
        Kind of values: inferred from all entries in memory, else from some cells and then checked
        in every block.
    where
        Its name in error messages.
    genes
        Which columns are genes, unless all are; the others are read as empty.
    """

    matrix: Any
    var: pd.DataFrame
    values: Values
    where: str
    genes: np.ndarray | None = None

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return shape_of(self.matrix)[0]

    @property
    def in_memory(self) -> bool:
        """Whether all counts are in memory."""
        return sparse.issparse(self.matrix)

    @property
    def starts(self) -> range:
        """The first cell of each block."""
        return range(0, self.n_cells, BLOCK)

    def whole(self) -> sparse.csr_matrix | sparse.csr_array:
        """All counts, the log undone."""
        if self.in_memory:
            return linear(self.matrix, self.values)
        blocks = [block for _, block in self.blocks()]
        return sparse.vstack(blocks, format="csr")

    def parts(self) -> Iterator[sparse.csr_matrix | sparse.csr_array]:
        """Yield all counts: in one piece if they are in memory, else block by block."""
        if self.in_memory:
            yield self.whole()
        else:
            yield from (block for _, block in self.blocks())

    def blocks(self, starts: Iterable[int] | None = None) -> Iterator[tuple[int, Any]]:
        """Yield the first cell of each block and its counts, reading one block ahead."""
        wanted = list(self.starts if starts is None else starts)
        with ThreadPoolExecutor(1) as reader:
            coming = [reader.submit(self.block, start) for start in wanted[:1]]
            for i, start in enumerate(wanted):
                block = coming.pop().result()
                coming += [reader.submit(self.block, later) for later in wanted[i + 1 : i + 2]]
                yield start, block

    def block(self, start: int) -> sparse.csr_matrix | sparse.csr_array:
        """Read up to ``BLOCK`` cells from `start` on.

        Raises
        ------
        InputError
            If they cannot be read, or hold another kind of values.
        """
        stop = min(start + BLOCK, self.n_cells)
        try:
            rows = self._rows(start, stop)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.where}: cells {start} to {stop - 1} cannot be read: {error}",
                "copy the file again",
            ) from error
        return self.checked(rows, start)

    def checked(self, rows: Any, start: int) -> sparse.csr_matrix | sparse.csr_array:
        """Validate rows that were read, and return them as counts."""
        csr = as_csr(rows, where=self.where)
        if not self.in_memory:
            csr = only_genes(csr, self.genes)
            recheck(csr, self.values, where=self.where, first=start)
        return linear(csr, self.values)

    def some(self) -> tuple[sparse.csr_matrix | sparse.csr_array, np.ndarray]:
        """Return counts and their cells: all if in memory, else a sample."""
        if self.in_memory:
            return self.whole(), np.arange(self.n_cells)
        some, which = some_of(self.matrix, self.where)
        return linear(only_genes(some, self.genes), self.values), which

    @cached_property
    def _rows(self) -> Callable[[int, int], Any]:
        return rows_of(self.matrix)


def count(matrix: Any, var: pd.DataFrame, *, where: str, log1p_hint: float | None = None) -> Counts:
    """Infer the kind of values: from all entries in memory, else from a sample of cells."""
    var = var.to_memory() if hasattr(var, "to_memory") else var
    genes = is_gene(var)
    if genes is not None and not genes.any():
        kind = var["feature_types"].iloc[0]
        raise InputError(
            f"no column of {where} is a gene: adata.var['feature_types'] is {kind!r}",
            "pass the AnnData with gene expression or, for a MuData, mod='rna'",
        )
    try:
        if by_columns(matrix):  # its rows are everywhere in the file
            matrix = matrix.to_memory()
        lazy = is_lazy(matrix)
        seen = some_of(matrix, where)[0] if lazy else as_csr(matrix, where=where)
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(f"{where} cannot be read: {error}", "copy the file again") from error
    seen = only_genes(seen, genes)
    matrix = matrix if lazy else seen
    values = judge(seen, log1p_hint=log1p_hint, where=where)
    return Counts(matrix, var, values, where, genes)


def is_gene(var: pd.DataFrame) -> np.ndarray | None:
    """Return which rows of a table of features are genes; None if all are.

    ``feature_types`` is Cell Ranger's column, which others fill with words of their own ("GEX" and
    "ADT"); in a merged file it may be missing for some rows. Unknown words are genes, unless other
    rows say that they are.
    """
    if "feature_types" not in var:
        return None
    given = var["feature_types"].astype(object)
    kind = given.where(given.notna(), "").astype(str).str.casefold()
    kind = kind.str.replace(r"[\s_-]+", " ", regex=True).str.strip().to_numpy()
    known = np.isin(kind, list(_GENES))
    genes = known | np.isin(kind, [name.casefold() for name in NONE])
    if not known.any():
        genes = ~np.isin(kind, list(_OTHERS))
    return None if genes.all() else genes


def only_genes(
    csr: sparse.csr_matrix | sparse.csr_array, genes: np.ndarray | None
) -> sparse.csr_matrix | sparse.csr_array:
    """Empty the columns that are not genes: antibodies, guides, peaks."""
    if genes is None:
        return csr
    kept = genes[csr.indices]
    indptr = np.append(0, np.cumsum(kept))[csr.indptr]
    return sparse.csr_matrix((csr.data[kept], csr.indices[kept], indptr), shape=csr.shape)


def by_columns(matrix: Any) -> bool:
    """Whether a matrix is stored gene by gene (CSC) in a file."""
    return is_lazy(matrix) and getattr(matrix, "format", "") == "csc"


def is_lazy(matrix: Any) -> bool:
    """Whether a matrix is not in memory."""
    return not isinstance(matrix, np.ndarray) and not sparse.issparse(matrix)


def some_of(matrix: Any, where: str) -> tuple[sparse.csr_matrix | sparse.csr_array, np.ndarray]:
    """Read a sample of cells of a matrix that is not in memory; also return their indices."""
    n_cells, n_genes = shape_of(matrix)
    rows = rows_of(matrix)
    if n_cells <= _PIECES * _PIECE:
        all_of = rows(0, n_cells) if n_cells else sparse.csr_matrix((0, n_genes))
        return as_csr(all_of, where=where), np.arange(n_cells)
    starts = np.linspace(0, n_cells - _PIECE, _PIECES).astype(int).tolist()
    pieces = [as_csr(rows(start, start + _PIECE), where=where) for start in starts]
    which = np.add.outer(starts, np.arange(_PIECE)).ravel()
    return sparse.vstack(pieces, format="csr"), which


def shape_of(x: Any) -> tuple[int, ...]:
    """Return the shape of a matrix, or of the group in a file that holds it."""
    return tuple(int(n) for n in (x.shape if hasattr(x, "shape") else x.attrs["shape"]))


def rows_of(matrix: Any) -> Callable[[int, int], Any]:
    """Return a function that reads rows ``start`` to ``stop`` of any matrix."""
    if hasattr(matrix, "dask"):
        blocks = matrix.rechunk({1: -1})
        return lambda start, stop: blocks[start:stop].compute(scheduler="synchronous")
    if by_columns(matrix):
        matrix = matrix.to_memory().tocsr()
    if hasattr(matrix, "group"):  # of a backed AnnData
        matrix = matrix.group
    if hasattr(matrix, "shape"):
        return lambda start, stop: matrix[start:stop]
    starts, indices, data = matrix["indptr"][:], matrix["indices"], matrix["data"]
    n_genes = shape_of(matrix)[1]

    def rows(start: int, stop: int) -> sparse.csr_matrix:
        # slices of anndata's own look up its version, 9 ms each time
        own = starts[start : stop + 1]
        part = slice(int(own[0]), int(own[-1]))
        shape = (len(own) - 1, n_genes)
        return sparse.csr_matrix((data[part], indices[part], own - own[0]), shape=shape)

    return rows
