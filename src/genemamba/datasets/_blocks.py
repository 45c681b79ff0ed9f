"""The first pass over the files of a corpus: read, match genes, filter, keep cells in blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from scipy import sparse

from genemamba._progress import tqdm
from genemamba.datasets._sources import Source
from genemamba.datasets._store import MOST
from genemamba.errors import InputError
from genemamba.tokens import FIRST_GENE, Vocabulary, add_columns, match
from genemamba.tokens.genes import diagnose

BLOCK = 2_048  # cells that are read, and written, at a time
THREADS = 2
_FEW = 0.1  # known names; title-case names of another species match in part


def read_blocks(
    sources: list[Source], raw: Path, reference: Vocabulary, min_genes: int
) -> Iterator[dict[str, Any]]:
    """Read and filter all files, block by block; yield what is known of each block."""
    n_cells = sum(len(source.obs) for source in sources)
    with tqdm(total=n_cells, unit="cell", desc="read", delay=3, leave=False) as bar:
        for s, source in enumerate(sources):
            gene = tokens_of(source, reference)
            library = np.array([f"{source.path.stem}/{name}" for name in source.samples])
            starts = range(0, len(source.obs), BLOCK)
            done = [known(raw, f"{s:03}-{b:05}") for b in range(len(starts))]
            first = next((b for b, block in enumerate(done) if block is None), len(done))
            values = source.blocks(BLOCK, starts[first] if first < len(done) else len(source.obs))
            of_source = []
            with ThreadPoolExecutor(THREADS) as pool:
                waiting: list[Any] = []
                for b, start in enumerate(starts):
                    done_before = done[b]
                    if b >= first:
                        block, own = next(values), slice(start, start + BLOCK)
                        of_cells = library[own], source.label[own], source.profile[own]
                        name = f"{s:03}-{b:05}"
                        waiting.append(
                            pool.submit(_filter, block, gene, of_cells, min_genes, raw, name)
                        )
                        if len(waiting) > THREADS:
                            of_source.append(waiting.pop(0).result())
                    else:
                        assert done_before is not None
                        of_source.append(done_before)
                    bar.update(min(BLOCK, len(source.obs) - start))
                of_source += [task.result() for task in waiting]
            if of_source and not sum(block["cells"] for block in of_source):
                raise _nothing_left(source, of_source, min_genes)
            yield from of_source


def tokens_of(source: Source, reference: Vocabulary) -> np.ndarray:
    """Return the token of each gene of a file; refuse files of other species."""
    names, where = source.var.index.tolist(), f"var_names of {source.path}"
    found = match(names, reference, where=where, genes=source.genes)
    gene = found.token
    if (gene[found.status != "other"] >= 0).mean() < _FEW:
        raise InputError(
            f"only {(gene >= 0).sum()} of {len(gene)} names in {where} are human genes: "
            f"{diagnose(names)}",
            "name the genes by human symbols or Ensembl ids, or leave the file out",
        )
    return gene


class Block(NamedTuple):
    """Cells that were read and passed the filter, on the genes of the reference."""

    hash: np.ndarray
    """A 64-bit number of each cell that equal counts in equal genes share."""
    library: np.ndarray
    label: np.ndarray
    profile: np.ndarray
    total: np.ndarray
    starts: np.ndarray
    genes: np.ndarray
    counts: np.ndarray

    def save(self, file: Path) -> None:
        """Write the arrays one after the other, whole or not at all."""
        new = file.with_suffix(".new")
        with new.open("wb") as out:
            for array in self:
                np.save(out, array)
        new.replace(file)

    @classmethod
    def load(cls, file: Path) -> Block:
        """Read what :meth:`save` has written."""
        with file.open("rb") as saved:
            return cls(*(np.load(saved) for _ in cls._fields))

    def take(self, keep: np.ndarray) -> Block:
        """Return the cells for which `keep` is true."""
        if keep.all():
            return self
        lengths = np.diff(self.starts)
        entries = np.repeat(keep, lengths)
        starts = np.append(0, np.cumsum(lengths[keep]))
        return Block(
            self.hash[keep],
            self.library[keep],
            self.label[keep],
            self.profile[keep],
            self.total[keep],
            starts,
            self.genes[entries],
            self.counts[entries],
        )

    def matrix(self, n_genes: int) -> sparse.csr_matrix:
        """Cells × genes of the reference."""
        shape = (len(self.total), n_genes)
        return sparse.csr_matrix((self.counts, self.genes, self.starts), shape=shape)


def hashes(file: Path) -> np.ndarray:
    """Read nothing else of a block."""
    with file.open("rb") as saved:
        return np.load(saved)


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
    """Keep cells of counts with enough known genes, on the genes of the reference."""
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
    """Say whether all values could be counts; the total, fractions and known genes of each cell."""
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
    """Return the hashes and counts of some cells; write their known genes."""
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
                mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                hashed[i] += mixed ^ (mixed >> np.uint64(31))  # splitmix64, in any order
                n += 1
    return hashed, counts


def known(folder: Path, name: str) -> dict[str, Any] | None:
    """Read what was said of a block when it was finished."""
    file = folder / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def write_json(file: Path, values: dict[str, Any]) -> None:
    new = file.with_suffix(".tmp")
    new.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    new.replace(file)


def _nothing_left(source: Source, blocks: list[dict[str, Any]], min_genes: int) -> InputError:
    read, not_counts = (sum(block[key] for block in blocks) for key in ("read", "not_counts"))
    if not_counts > read / 2:
        return InputError(
            f"{source.path} holds no counts: in {not_counts} of {read} cells more than a fifth of "
            "the entries of X are not whole numbers (normalised or logged values?)",
            "put the counts into X, or leave the file out",
        )
    return InputError(
        f"no cell of {source.path} has {min_genes} known genes",
        "lower min_genes, or leave the file out",
    )
