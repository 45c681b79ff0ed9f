"""The first pass over the files of a corpus: read, match genes, filter, save cells in blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from scipy import sparse

from genemamba._files import load_array, replacing, write_json
from genemamba._progress import Progress
from genemamba.datasets._sources import CellFile
from genemamba.datasets._store import MOST
from genemamba.errors import InputError
from genemamba.tokens import FIRST_GENE, Vocabulary, add_columns, match
from genemamba.tokens.genes import diagnose
from genemamba.tokens.sketch import splitmix64

BLOCK = 2_048  # cells per block
THREADS = 2
_FEW = 0.1  # share of known names; those of another species may match in part


def read_blocks(
    files: list[CellFile], raw: Path, reference: Vocabulary, min_genes: int
) -> Iterator[dict[str, Any]]:
    """Read and filter all files, block by block; yield the description of each block."""
    n_cells = sum(len(file.obs) for file in files)
    with Progress("read", n_cells) as bar:
        for f, file in enumerate(files):
            gene = tokens_of(file, reference)
            library = np.array([f"{file.path.stem}/{name}" for name in file.samples])
            names = [f"{f:03}-{b:05}" for b in range(-(-len(file.obs) // BLOCK))]
            found = (known(raw, name) for name in names)
            done: list[dict[str, Any]] = list(takewhile(bool, found))  # type: ignore[arg-type]
            start = BLOCK * len(done)
            bar.update(min(start, len(file.obs)))
            with ThreadPoolExecutor(THREADS) as pool:
                waiting: list[Any] = []
                blocks = file.blocks(BLOCK, start)
                for name, block in zip(names[len(done) :], blocks, strict=False):
                    own = slice(start, start + BLOCK)
                    start += BLOCK
                    of_cells = library[own], file.label[own], file.profile[own]
                    waiting.append(
                        pool.submit(_filter, block, gene, of_cells, min_genes, raw, name)
                    )
                    if len(waiting) > THREADS:
                        done.append(waiting.pop(0).result())
                    bar.update(block.shape[0])
                done += [task.result() for task in waiting]
            if done and not sum(block["cells"] for block in done):
                raise _nothing_left(file, done, min_genes)
            yield from done


def tokens_of(file: CellFile, reference: Vocabulary) -> np.ndarray:
    """Return the token of each gene of a file; reject files of other species."""
    names, where = file.var.index.tolist(), f"var_names of {file.path}"
    found = match(names, reference, where=where, genes=file.genes)
    gene = found.token
    if (gene[found.status != "other"] >= 0).mean() < _FEW:
        raise InputError(
            f"only {(gene >= 0).sum()} of {len(gene)} names in {where} are human genes: "
            f"{diagnose(names)}",
            "name the genes by human symbols or Ensembl ids, or leave the file out",
        )
    return gene


class Block(NamedTuple):
    """Cells that passed the filter, on the genes of the reference."""

    hash: np.ndarray
    """A 64-bit hash of each cell's counts, to find duplicates."""
    library: np.ndarray
    label: np.ndarray
    profile: np.ndarray
    total: np.ndarray
    starts: np.ndarray
    genes: np.ndarray
    counts: np.ndarray

    def save(self, file: Path) -> None:
        """Write all arrays to one file, whole or not at all."""
        with replacing(file) as new, new.open("wb") as out:
            for array in self:
                np.save(out, array)

    @classmethod
    def load(cls, file: Path) -> Block:
        """Read what :meth:`save` has written."""
        with file.open("rb") as saved:
            return cls(*(load_array(saved) for _ in cls._fields))

    def take(self, keep: np.ndarray) -> Block:
        """Return the cells for which `keep` is true."""
        if keep.all():
            return self
        lengths = np.diff(self.starts)
        entries = np.repeat(keep, lengths)
        starts = np.append(0, np.cumsum(lengths[keep]))
        per_cell = (self.hash, self.library, self.label, self.profile, self.total)
        kept = [values[keep] for values in per_cell]
        return Block._make([*kept, starts, self.genes[entries], self.counts[entries]])

    def matrix(self, n_genes: int) -> sparse.csr_matrix:
        """Return cells × genes of the reference."""
        shape = (len(self.total), n_genes)
        return sparse.csr_matrix((self.counts, self.genes, self.starts), shape=shape)


def hashes(file: Path) -> np.ndarray:
    """Read only the hashes of a block."""
    with file.open("rb") as saved:
        return load_array(saved)


def file_of(raw: Path, name: str) -> Path:
    return raw / f"{name}.npy"


def _filter(
    block: sparse.csr_matrix,
    gene: np.ndarray,
    of_cells: tuple[np.ndarray, np.ndarray, np.ndarray],
    min_genes: int,
    raw: Path,
    name: str,
) -> dict[str, Any]:
    """Save the cells with counts in enough known genes, on the genes of the reference."""
    block = add_columns(block, gene)
    # one compiled kernel for all dtypes
    indptr = block.indptr.astype(np.int64, copy=False)
    indices = block.indices.astype(np.int32, copy=False)
    data = block.data.astype(np.float64, copy=False)
    sound, total, fractional, n_genes = _look(indptr, indices, data, gene)
    if not sound:
        raise InputError(
            f"{of_cells[0][0]} has values that are negative or not finite", "leave it out"
        )
    counts = fractional <= 0.2 * np.diff(indptr)
    keep = counts & (n_genes >= min_genes)
    cells = np.flatnonzero(keep)
    starts = np.append(0, np.cumsum(n_genes[cells]))
    narrow = np.uint16 if gene.max() - FIRST_GENE < 2**16 else np.int32  # blocks are read twice
    genes = np.empty(starts[-1], dtype=narrow)
    hashed, kept = _kept(indptr, indices, data, gene, cells, genes)
    library, label, profile = (values[cells] for values in of_cells)
    block_of = Block(hashed, library, label, profile, total[cells], starts, genes, kept)
    block_of.save(file_of(raw, name))
    described = {
        "name": name,
        "cells": len(cells),
        "read": len(keep),
        "not_counts": int((~counts).sum()),
        "few_genes": int((counts & (n_genes < min_genes)).sum()),
        "libraries": np.unique(library).tolist(),
    }
    write_json(raw / f"{name}.json", described)
    return described


@njit(nogil=True, cache=True)
def _look(indptr, indices, data, gene):  # type: ignore[no-untyped-def]
    """Return whether values can be counts, and each cell's total, fractions and known genes."""
    n_cells = len(indptr) - 1
    total = np.zeros(n_cells)
    fractional, n_genes = np.zeros(n_cells, dtype=np.int64), np.zeros(n_cells, dtype=np.int64)
    sound = True
    for cell in range(n_cells):
        for entry in range(indptr[cell], indptr[cell + 1]):
            value = data[entry]
            sound &= 0 <= value < np.inf
            whole = np.rint(value)
            total[cell] += value
            fractional[cell] += value != whole
            n_genes[cell] += whole > 0 and gene[indices[entry]] >= 0
    return sound, total, fractional, n_genes


@njit(nogil=True, cache=True)
def _kept(indptr, indices, data, gene, cells, genes):  # type: ignore[no-untyped-def]
    """Return the hashes and counts of some cells; write their known genes to `genes`."""
    hashed = np.zeros(len(cells), dtype=np.uint64)
    counts = np.empty(len(genes), dtype=np.uint16)
    n = 0
    for i, cell in enumerate(cells):
        for entry in range(indptr[cell], indptr[cell + 1]):
            count, token = np.rint(data[entry]), gene[indices[entry]]
            if count > 0 and token >= 0:
                genes[n] = token - FIRST_GENE
                counts[n] = min(count, MOST)
                mixed = (np.uint64(genes[n]) << np.uint64(16)) | np.uint64(counts[n])
                hashed[i] += splitmix64(mixed)  # a sum, so the order does not matter
                n += 1
    return hashed, counts


def known(folder: Path, name: str) -> dict[str, Any] | None:
    """Read the description of a finished block, if it exists."""
    file = folder / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def _nothing_left(file: CellFile, blocks: list[dict[str, Any]], min_genes: int) -> InputError:
    read, not_counts = (sum(block[key] for block in blocks) for key in ("read", "not_counts"))
    if not_counts > read / 2:
        return InputError(
            f"{file.path} holds no counts: in {not_counts} of {read} cells more than a fifth of "
            "the entries of X are not whole numbers (normalised or logged values?)",
            "put the counts into X, or leave the file out",
        )
    return InputError(
        f"no cell of {file.path} has {min_genes} known genes",
        "lower min_genes, or leave the file out",
    )
