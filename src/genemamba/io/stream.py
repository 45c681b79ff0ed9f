"""Blocks of cells through a function, here or on a cluster, and what it gives into one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeAlias

import numpy as np
from scipy import sparse

from genemamba._progress import Progress
from genemamba.io import cluster
from genemamba.io.counts import Counts

Csr: TypeAlias = sparse.csr_matrix | sparse.csr_array
Step = Callable[[Csr], tuple[np.ndarray, dict[str, Any]]]
"""Takes the counts of a block; gives rows, and what is to be said of them, as JSON can hold it."""


class Sink(Protocol):
    """Where rows go, and what was said of each block, by its first cell."""

    done: dict[int, dict[str, Any]]

    def write(self, start: int, rows: np.ndarray, said: dict[str, Any]) -> None:
        """Take the rows from `start` on."""


class Array:
    """Rows in memory."""

    def __init__(self, n_cells: int, width: int, dtype: type) -> None:
        self.rows: np.ndarray = np.empty((n_cells, width), dtype=dtype)
        self.done: dict[int, dict[str, Any]] = {}

    def write(self, start: int, rows: np.ndarray, said: dict[str, Any]) -> None:
        """Take the rows from `start` on."""
        self.rows[start : start + len(rows)] = rows
        self.done[start] = said


def fill(counts: Counts, step: Step, sink: Sink, *, doing: str) -> list[dict[str, Any]]:
    """Put what is missing into a sink; return what was said of all blocks, in order.

    With a dask array of counts and an active ``dask.distributed`` client, its workers compute.
    """
    missing = [start for start in counts.starts if start not in sink.done]
    client = cluster.client_for(counts)
    results = (
        _here(counts, step, missing)
        if client is None
        else cluster.mapped(client, counts, step, missing)
    )
    left = counts.n_cells * len(missing) // max(1, len(counts.starts))
    writing: Future[None] | None = None
    with Progress(doing, left, "cell", left) as bar, ThreadPoolExecutor(1) as writer:
        for start, (rows, said) in results:
            if writing is not None:
                writing.result()
            writing = writer.submit(sink.write, start, rows, said)  # while the next is computed
            bar.update(len(rows))
    if writing is not None:
        writing.result()
    return [sink.done[start] for start in counts.starts]


def _here(
    counts: Counts, step: Step, starts: Iterable[int]
) -> Iterator[tuple[int, tuple[np.ndarray, dict[str, Any]]]]:
    for start, block in counts.blocks(starts):
        yield start, step(block)
