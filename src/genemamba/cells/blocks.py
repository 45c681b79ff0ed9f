"""Process cells block by block, here or on a cluster, into an array or a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from anndata import AnnData
from scipy import sparse

from genemamba._files import sha256
from genemamba._keys import UNS
from genemamba._progress import Progress, tell
from genemamba._version import __version__
from genemamba.cells import cluster
from genemamba.cells.counts import BLOCK, Counts
from genemamba.cells.open import is_path
from genemamba.cells.read import left_out, losses, no_genes, report
from genemamba.cells.store import filling
from genemamba.errors import InputError, shown

if TYPE_CHECKING:
    from genemamba.tokens import GeneMatch, Ranked

Csr: TypeAlias = sparse.csr_matrix | sparse.csr_array


class Step(Protocol):
    """Maps the counts of a block to rows and to summary statistics that JSON can hold."""

    def __call__(
        self, block: Csr, progress: bool | Progress = False
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Take a block; `progress` is a bar to advance on the way."""


class Sink(Protocol):
    """Where rows go; the statistics of each finished block, by its first cell."""

    done: dict[int, dict[str, Any]]

    def write(self, start: int, rows: np.ndarray, stats: dict[str, Any]) -> None:
        """Take the rows from `start` on."""


class Array:
    """Rows in memory."""

    def __init__(self, n_cells: int, width: int, dtype: type) -> None:
        self.rows: np.ndarray = np.empty((n_cells, width), dtype=dtype)
        self.done: dict[int, dict[str, Any]] = {}

    def write(self, start: int, rows: np.ndarray, stats: dict[str, Any]) -> None:
        """Take the rows from `start` on."""
        self.rows[start : start + len(rows)] = rows
        self.done[start] = stats


def fill(counts: Counts, step: Step, sink: Sink, *, doing: str) -> list[dict[str, Any]]:
    """Compute the missing blocks into a sink; return the statistics of all blocks, in order.

    With a dask array of counts and an active ``dask.distributed`` client, its workers compute.
    """
    missing = [start for start in counts.starts if start not in sink.done]
    there = sum(min(BLOCK, counts.n_cells - start) for start in sink.done)
    if there:
        tell(f"{doing}: {there:,} of {counts.n_cells:,} cells were there already")
    client = cluster.client_for(counts)
    writing: Future[None] | None = None
    with Progress(doing, counts.n_cells, there=there) as bar, ThreadPoolExecutor(1) as writer:
        results = (
            _here(counts, step, missing, bar)
            if client is None
            else cluster.mapped(client, counts, step, missing)
        )
        for start, (rows, stats) in results:
            if writing is not None:
                writing.result()
            writing = writer.submit(sink.write, start, rows, stats)  # while the next is computed
            there += len(rows)
            bar.reach(there)
    if writing is not None:
        writing.result()
    return [sink.done[start] for start in counts.starts]


def _here(
    counts: Counts, step: Step, starts: Iterable[int], bar: Progress
) -> Iterator[tuple[int, tuple[np.ndarray, dict[str, Any]]]]:
    for start, block in counts.blocks(starts):
        yield start, step(block, bar)


def stats_of(ranked: Ranked, block: Csr, genes: GeneMatch) -> dict[str, Any]:
    """Return the statistics of a block."""
    return {
        "lost": losses(ranked),
        "left_out": left_out(block, genes).tolist(),
        "tokens": int(ranked.lengths.sum()),
        "without": np.flatnonzero(ranked.lengths == 0).tolist(),
    }


def summed(
    adata: AnnData, counts: Counts, genes: GeneMatch, stats: list[dict[str, Any]]
) -> dict[str, Any]:
    """Combine the statistics of all blocks into the record.

    Raises
    ------
    InputError
        If no cell expresses a known gene.
    """
    n_cells = max(1, counts.n_cells)
    lost, tokens = (sum(block[what] for block in stats) / n_cells for what in ("lost", "tokens"))
    left = np.sum([block["left_out"] for block in stats], axis=0) / n_cells
    without = [
        start + cell
        for start, block in zip(counts.starts, stats, strict=True)
        for cell in block["without"]
    ]
    if len(without) == counts.n_cells:
        raise no_genes()
    found = report(genes, counts.values, counts.where, lost, tokens, left)
    return {**found, "cells_without_genes": np.asarray(adata.obs_names[without], dtype=str)}


def into_store(
    out: str | PathLike[str],
    adata: AnnData,
    counts: Counts,
    genes: GeneMatch,
    step: Step,
    *,
    key: str,
    width: int,
    dtype: type,
    entry: dict[str, Any],
    doing: str,
) -> dict[str, Any]:
    """Fill a store block by block, resuming it if it exists, and return its record.

    Raises
    ------
    InputError
        If `out` does not end in .zarr; see :func:`~genemamba.cells.store.filling`.
    """
    if not is_path(out):
        raise InputError(f"out={shown(out)} is not a path", "give a name that ends in .zarr")
    path = Path(out)
    if path.suffix != ".zarr":
        raise InputError(
            f"out={fspath(out)!r} is not a zarr store", "give a name that ends in .zarr"
        )
    settings = {
        "version": __version__,
        "key": key,
        "input": counts.where,
        "values": counts.values.kind,
        "cells": counts.n_cells,
        "cells_sha256": sha256(*(f"{name}\0" for name in adata.obs_names)),
        "genes_sha256": sha256(*(f"{token}\0" for token in genes.token.tolist())),
        "block": BLOCK,
        **{what: value for what, value in entry.items() if what != "params"},
        **entry["params"],
    }
    with filling(path, adata.obs_names, key, width, dtype, settings) as store:
        if store.finished():
            tell(f"{doing}: all {counts.n_cells:,} cells were there already")
        else:
            stats = fill(counts, step, store, doing=doing)
            record = {"version": __version__, **entry, **summed(adata, counts, genes, stats)}
            store.finish({UNS: {key: record}})
        return store.record
