"""Counts to ranked tokens, on plain CSR arrays."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import config, njit
from scipy import sparse

from ..errors import InputError

_MAX_TOKEN = 65_535  # a token has to fit the low 16 bits of a sort key
_BLOCK = 64  # cells per thread and task


@dataclass(frozen=True, eq=False)
class Ranked:
    """Cells as ranked tokens, concatenated."""

    tokens: np.ndarray
    """``(nnz,)`` int32; cell ``i`` is ``tokens[indptr[i]:indptr[i + 1]]``, highest rank first."""
    indptr: np.ndarray
    """``(n_cells + 1,)`` int64."""
    total: np.ndarray
    """``(n_cells,)`` float64, total counts of the cell."""
    known: np.ndarray
    """``(n_cells,)`` float64, counts in genes that have a token."""

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.indptr) - 1

    @property
    def lengths(self) -> np.ndarray:
        """``(n_cells,)`` int64, number of tokens of each cell."""
        return np.diff(self.indptr)

    @property
    def cell(self) -> np.ndarray:
        """``(nnz,)`` int64, the cell of each token."""
        return np.repeat(np.arange(self.n_cells), self.lengths)

    @property
    def rank(self) -> np.ndarray:
        """``(nnz,)`` integers, the rank of each token in its cell, from 0."""
        narrow = np.int32 if len(self.tokens) < 2**31 else np.int64  # half the memory
        first = np.repeat(self.indptr[:-1].astype(narrow), self.lengths)
        return np.subtract(np.arange(len(first), dtype=narrow), first, out=first)

    def of_cell(self, i: int) -> np.ndarray:
        """Return the tokens of one cell."""
        return self.tokens[self.indptr[i] : self.indptr[i + 1]]

    def take(self, cells: np.ndarray) -> Ranked:
        """Return some cells, by index, in the order given."""
        lengths = self.lengths[cells]
        indptr = np.append(0, np.cumsum(lengths))
        place = np.arange(indptr[-1]) + np.repeat(self.indptr[cells] - indptr[:-1], lengths)
        return Ranked(self.tokens[place], indptr, self.total[cells], self.known[cells])

    @classmethod
    def of(cls, cells: Sequence[np.ndarray]) -> Ranked:
        """Make cells from their tokens; their counts are unknown."""
        tokens = np.concatenate([*cells, np.empty(0, np.int32)]).astype(np.int32)
        indptr = np.append(0, np.cumsum([len(cell) for cell in cells], dtype=np.int64))
        return cls(tokens, indptr, *np.full((2, len(cells)), np.nan))

    @classmethod
    def joined(cls, parts: Sequence[Ranked]) -> Ranked:
        """Concatenate sets of cells."""
        if len(parts) == 1:
            return parts[0]
        columns = zip(*((p.tokens, p.lengths, p.total, p.known) for p in parts), strict=True)
        tokens, lengths, total, known = map(np.concatenate, columns)
        return cls(tokens, np.append(0, np.cumsum(lengths)), total, known)


def rank_csr(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    token: np.ndarray,
    median: np.ndarray,
    max_tokens: int,
) -> Ranked:
    """Rank the expressed genes of each cell by count / cell total / gene median.

    Columns with the same token are added first. Values that agree to about 10 significant digits
    are ties, which are broken by ascending token, that is, by Ensembl id.

    Parameters
    ----------
    indptr, indices, data
        Cells × genes in canonical CSR form, finite and not negative (see :func:`judge`).
    token
        ``(n_genes,)`` int32, the token of each column, -1 for an unknown gene.
    median
        ``(n_genes,)`` float64, ignored for unknown genes.
    max_tokens
        Maximum tokens per cell.
    """
    token = np.array(token, dtype=np.int32)
    median = np.array(median, dtype=np.float64)
    indptr = np.array(indptr, dtype=np.int64)
    _check((indptr, indices, data), token, median, max_tokens)
    column = first_columns(token)

    def rank_block(first: int) -> tuple[np.ndarray, ...]:
        # casting block by block needs little memory and one compiled kernel for all dtypes
        block = indptr[first : first + _BLOCK + 1]
        entries = slice(block[0], block[-1])
        arrays = (
            block - block[0],
            indices[entries].astype(np.int32),
            data[entries].astype(np.float64),
        )
        if column is not None:
            arrays = _add_columns(*arrays, column)
        n_entries = np.diff(arrays[0])
        tokens = np.empty(np.minimum(n_entries, max_tokens).sum(), dtype=np.int32)
        values = np.empty(n_entries.max(initial=0))
        how = (token, median, max_tokens, values, values.view(np.uint64), tokens)
        return _rank_cells(*arrays, *how)

    # our own threads: numba's pools abort the process when two threads call them at once
    # (workqueue) or when it forks afterwards (GNU OpenMP)
    n_threads: int = config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    with ThreadPoolExecutor(n_threads) as pool:
        blocks = list(pool.map(rank_block, range(0, max(1, len(indptr) - 1), _BLOCK)))
    tokens, lengths, total, known = map(np.concatenate, zip(*blocks, strict=True))
    return Ranked(tokens, np.append(0, np.cumsum(lengths)), total, known)


def first_columns(token: np.ndarray) -> np.ndarray | None:
    """Return the first column of each column's gene, or None if no gene has several."""
    n_columns = np.bincount(token[token >= 0], minlength=1)
    if n_columns.max() < 2:
        return None
    column = np.arange(len(token), dtype=np.int32)
    of_token = np.empty(len(n_columns), dtype=np.int32)
    known = np.flatnonzero(token >= 0)[::-1]
    of_token[token[known]] = known  # the first comes last and wins
    column[known] = of_token[token[known]]
    return column


def add_columns(
    csr: sparse.csr_matrix | sparse.csr_array, token: np.ndarray
) -> sparse.csr_matrix | sparse.csr_array:
    """Add the columns of each gene to its first one; return `csr` itself if no gene has several."""
    column = first_columns(token)
    if column is None:
        return csr
    # one compiled kernel for all dtypes
    indptr, indices = csr.indptr.astype(np.int64), csr.indices.astype(np.int32)
    indptr, indices, data = _add_columns(indptr, indices, csr.data.astype(np.float64), column)
    return sparse.csr_matrix((data.astype(_wide(csr.dtype)), indices, indptr), shape=csr.shape)


def _wide(dtype: np.dtype) -> np.dtype:
    """Return a type that holds sums without overflow."""
    return dtype if dtype.kind == "f" else np.result_type(dtype, np.int64)


def _check(
    csr: tuple[np.ndarray, ...], token: np.ndarray, median: np.ndarray, max_tokens: int
) -> None:
    indptr, indices, data = csr
    if max_tokens < 1:
        raise InputError(f"max_tokens is {max_tokens}", "Give max_tokens of at least 1.")
    if token.shape != median.shape:
        raise InputError(
            f"token has shape {token.shape}, median {median.shape}", "Give one of each per column."
        )
    if token.max(initial=-1) > _MAX_TOKEN:
        raise InputError(f"token {token.max()} is above {_MAX_TOKEN}", "Use a smaller vocabulary.")
    used = median[token >= 0]
    if not np.all(np.isfinite(used) & (used > 0)):
        raise InputError(
            "a gene median is not a positive number", "Give a median > 0 for every known gene."
        )
    # numba does not check bounds: a bad column would read other memory
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(token):
        raise InputError(
            f"column {indices.max()} in a matrix of {len(token)} genes",
            "Build the CSR matrix again with scipy.sparse.csr_matrix.",
        )
    fits = len(indices) == len(data) and indptr[0] >= 0 and indptr[-1] <= len(data)
    if not fits or np.any(np.diff(indptr) < 0):
        raise InputError(
            f"indptr does not fit {len(indices)} indices and {len(data)} entries",
            "Build the CSR matrix again with scipy.sparse.csr_matrix.",
        )


@njit(nogil=True, cache=True)
def _add_columns(indptr, indices, data, column):  # type: ignore[no-untyped-def]
    """Add the entries of a cell that belong to one column, in place."""
    ends = np.zeros_like(indptr)
    place = np.full(len(column), -1)  # of a column's entry in this cell, or in one before
    n = 0
    for cell in range(len(indptr) - 1):
        for entry in range(indptr[cell], indptr[cell + 1]):
            into = column[indices[entry]]
            if place[into] >= ends[cell]:
                data[place[into]] += data[entry]
            else:
                place[into] = n
                indices[n], data[n] = into, data[entry]
                n += 1
        ends[cell + 1] = n
    return ends, indices[:n], data[:n]


# only loops and scalars below: what numba has of numpy takes seconds to compile
@njit(nogil=True, cache=True)
def _rank_cells(indptr, indices, data, token, median, max_tokens, value, bits, tokens):  # type: ignore[no-untyped-def]
    """Rank cells into `tokens`; `bits` is the memory of `value`, which has room for a cell."""
    n_cells, most = len(indptr) - 1, len(value)
    lengths = np.empty(n_cells, dtype=np.int64)
    total, known = np.empty(n_cells), np.empty(n_cells)
    scratch = np.empty(most, dtype=np.uint64)
    bucket_end = np.empty(4 * most + 1, dtype=np.int32)
    end = 0
    for cell in range(n_cells):
        n, all_counts, known_counts = np.int64(0), 0.0, 0.0
        for entry in range(indptr[cell], indptr[cell + 1]):
            count, gene = data[entry], indices[entry]
            all_counts += count
            if count > 0 and token[gene] >= 0:
                known_counts += count
                value[n] = count / median[gene]
                # Bits of a positive float64 sort like the float. The upper 48, rounded, are the
                # value; the lower 16 hold the reversed token as tie-break.
                rounded = (bits[n] + np.uint64(0x8000)) & np.uint64(0xFFFFFFFFFFFF0000)
                bits[n] = rounded | np.uint64(65535 - token[gene])
                n += 1
        n_top = min(n, max_tokens)
        if n_top:
            _descending(bits, n, n_top, scratch, bucket_end)
        for rank in range(n_top):
            tokens[end + rank] = 65535 - np.int64(scratch[rank] & np.uint64(0xFFFF))
        lengths[cell], total[cell], known[cell] = n_top, all_counts, known_counts
        end += n_top
    return tokens[:end], lengths, total, known


@njit(nogil=True, cache=True)
def _descending(keys, n, n_top, out, bucket_end):  # type: ignore[no-untyped-def]
    """Write the `n_top` highest of n keys in descending order to the head of `out`.

    A counting pass distributes the keys, whose bits are close to a logarithm, over more buckets
    than keys; an insertion sort over short distances does the rest.
    """
    highest, lowest, last = keys[0], keys[0], 4 * n
    for i in range(1, n):
        highest, lowest = max(highest, keys[i]), min(lowest, keys[i])
    shift = np.uint64(0)
    while (highest - lowest) >> shift >= np.uint64(last):
        shift += np.uint64(1)
    for bucket in range(last + 1):
        bucket_end[bucket] = 0
    for i in range(n):
        bucket_end[np.int64((highest - keys[i]) >> shift) + 1] += 1
    for bucket in range(1, last + 1):
        bucket_end[bucket] += bucket_end[bucket - 1]
    for i in range(n):  # bucket starts become ends
        home = np.int64((highest - keys[i]) >> shift)
        out[bucket_end[home]] = keys[i]
        bucket_end[home] += 1
    n_sorted = bucket_end[np.int64((highest - out[n_top - 1]) >> shift)]
    if not _insert(out, n_sorted, np.int64(1), 16 * n):
        gap = n_sorted  # crowded buckets: go far first, in Shell's way
        while gap > 1:
            gap = max(1, gap * 5 // 11)
            _insert(out, n_sorted, gap, n_sorted * n_sorted)


@njit(nogil=True, cache=True)
def _insert(out, n, gap, most):  # type: ignore[no-untyped-def]
    """Sort each `gap`-th of the first n descending by insertion; False after `most` moves."""
    for i in range(gap, n):
        key, j = out[i], i
        while j >= gap and out[j - gap] < key:
            out[j] = out[j - gap]
            j -= gap
            most -= 1
        out[j] = key
        if most < 0:
            return False
    return True


def as_csr(matrix: Any, *, where: str = "the matrix") -> sparse.csr_matrix | sparse.csr_array:
    """Return cells × genes as CSR without duplicate entries; the input never changes.

    `matrix` is a numpy array or any scipy sparse matrix, integer or float; a canonical CSR matrix
    is returned itself. `where` names it in errors.
    """
    if np.ma.isMaskedArray(matrix):
        raise InputError(f"{where} is a masked array", "Fill it first: matrix.filled(0).")
    if not sparse.issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.ndim != 2:
        raise InputError(
            f"{where} has {matrix.ndim} dimensions", "Give a matrix of cells by genes."
        )
    dtype = matrix.dtype
    if dtype.kind not in "iuf":
        raise InputError(
            f"{where} holds {dtype} values, not numbers that can be ranked",
            "Give the matrix with counts, as integers or floats.",
        )
    if not dtype.isnative:
        matrix = matrix.astype(dtype.newbyteorder("="))
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):  # scipy has no other widths
        matrix = matrix.astype(np.float32 if dtype.itemsize < 4 else np.float64)
    csr = matrix.tocsr() if sparse.issparse(matrix) else sparse.csr_matrix(matrix)
    if not csr.has_canonical_format:
        csr = csr.astype(_wide(dtype), copy=True)
        csr.sum_duplicates()
    return csr
