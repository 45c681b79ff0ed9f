"""The first pass over the files of a corpus: read, match genes, filter, keep cells in blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from tqdm.auto import tqdm

from genemamba.datasets._sources import Source
from genemamba.datasets._store import MOST
from genemamba.errors import InputError
from genemamba.tokens import FIRST_GENE, Vocabulary, match
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
            gene = _tokens(source, reference)
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
                        block = next(values)
                        waiting.append(
                            pool.submit(
                                _filter, block, gene, library[start : start + BLOCK],
                                min_genes, raw, f"{s:03}-{b:05}",
                            )
                        )  # fmt: skip
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


def _tokens(source: Source, reference: Vocabulary) -> np.ndarray:
    """Return the token of each gene of a file; refuse files of other species."""
    names, where = source.var.index.tolist(), f"var_names of {source.path}"
    gene = match(names, reference, where=where).token
    if (gene >= 0).mean() < _FEW:
        raise InputError(
            f"only {(gene >= 0).sum()} of {len(gene)} names in {where} are human genes: "
            f"{diagnose(names)}",
            "name the genes by human symbols or Ensembl ids, or leave the file out",
        )
    return gene


def _filter(
    block: sparse.csr_matrix,
    gene: np.ndarray,
    library: np.ndarray,
    min_genes: int,
    raw: Path,
    name: str,
) -> dict[str, Any]:
    """Keep cells of counts with enough known genes, on the genes of the reference."""
    if block.nnz and not (np.isfinite(block.data).all() and block.data.min() >= 0):
        raise InputError(f"{library[0]} has values that are negative or not finite", "leave it out")
    cell = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    fractional = np.bincount(cell[block.data != np.round(block.data)], minlength=block.shape[0])
    counts = fractional <= 0.2 * np.diff(block.indptr)
    total = np.asarray(block.sum(axis=1, dtype=np.float64)).ravel()
    used = (gene[block.indices] >= 0) & (np.round(block.data) > 0)
    n_genes = np.bincount(cell[used], minlength=block.shape[0])
    keep = counts & (n_genes >= min_genes)
    entries = used & keep[cell]
    arrays = {
        "gene": (gene[block.indices[entries]] - FIRST_GENE).astype(np.int32),
        "count": np.minimum(np.round(block.data[entries]), MOST).astype(np.uint16),
        "length": n_genes[keep].astype(np.int64),
        "total": total[keep],
        "library": library[keep],
    }
    new = raw / f"{name}.new"
    with new.open("wb") as out:
        np.savez(out, **arrays)
    new.replace(raw / f"{name}.npz")
    described = {
        "name": name,
        "cells": int(keep.sum()),
        "read": block.shape[0],
        "not_counts": int((~counts).sum()),
        "few_genes": int((counts & (n_genes < min_genes)).sum()),
        "libraries": np.unique(library[keep]).tolist(),
    }
    write_json(raw / f"{name}.json", described)
    return described


def load_block(
    raw: Path, name: str, n_genes: int
) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Read counts over the genes of the reference, cell totals and libraries."""
    with np.load(raw / f"{name}.npz") as arrays:
        gene, count, length = arrays["gene"], arrays["count"], arrays["length"]
        total, library = arrays["total"], arrays["library"]
    indptr = np.append(0, np.cumsum(length))
    return sparse.csr_matrix((count, gene, indptr), shape=(len(length), n_genes)), total, library


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
