"""Process blocks of cells on the workers of a dask cluster."""

from __future__ import annotations

import dataclasses
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from genemamba.cells.counts import BLOCK, Counts

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")
_AHEAD = 3  # blocks a thread of a worker has waiting: what it computes, and what it reads
_RETRIES = 3  # of a block whose worker died


def client_for(counts: Counts) -> Client | None:
    """Return the active client if the counts are a dask array, else None."""
    if "distributed" not in sys.modules or not hasattr(counts.matrix, "dask"):
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None


def everywhere(client: Client, f: Callable[[], T]) -> list[T]:
    """Return the result of `f` on each worker."""
    return list(client.run(f).values())


def mapped(
    client: Client, counts: Counts, step: Callable[[Any], T], starts: Iterable[int]
) -> Iterator[tuple[int, T]]:
    """Yield the first cell of each block and the result of `step`, in order.

    The step is sent once, as a task: the scheduler recomputes it if all workers that hold it die,
    which would lose scattered data.
    """
    import cloudpickle
    import dask
    from dask.delayed import delayed

    light = dataclasses.replace(counts, matrix=None)
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "100GB"}):
        remote = client.submit(pickle.loads, cloudpickle.dumps((light, step)), pure=False)
    rows = counts.matrix.rechunk({1: -1})
    threads = sum(worker["nthreads"] for worker in client.scheduler_info(-1)["workers"].values())

    def submit(start: int) -> tuple[int, Any]:
        block = rows[start : min(start + BLOCK, counts.n_cells)]
        return start, client.compute(delayed(_work)(remote, start, block), retries=_RETRIES)

    wanted, waiting = iter(starts), deque[tuple[int, Any]]()
    try:
        for start in wanted:
            waiting.append(submit(start))
            if len(waiting) >= _AHEAD * max(1, threads):
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def _work(given: tuple[Counts, Callable[[Any], T]], start: int, rows: Any) -> T:
    counts, step = given
    return step(counts.checked(rows, start))
