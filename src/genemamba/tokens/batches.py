"""Batches of cells of nearly equal length, so that short cells do not pay for long ones."""

from __future__ import annotations

import numpy as np

from .rank import Ranked
from .vocab import PAD


def length_batches(
    lengths: np.ndarray, *, max_tokens_per_batch: int, multiple: int
) -> list[np.ndarray]:
    """Split cells into batches by length, the longest first.

    Parameters
    ----------
    lengths
        ``(n_cells,)`` int, tokens of each cell. Cells without tokens are left out.
    max_tokens_per_batch
        Limit on a batch's size after padding; a cell longer than that is a batch alone.
    multiple
        A batch is padded to its longest cell, rounded up to this multiple.

    Returns
    -------
    int64 indices of cells, one array per batch; the same lengths always give the same batches.

    Examples
    --------
    >>> import numpy as np
    >>> length_batches(np.array([3, 8, 0, 7, 2]), max_tokens_per_batch=16, multiple=4)
    [array([1, 3]), array([0, 4])]
    """
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind="stable")
    order = order[: np.count_nonzero(lengths)]
    batches = []
    start = 0
    while start < len(order):
        padded = _round_up(int(lengths[order[start]]), multiple)
        stop = start + max(1, max_tokens_per_batch // padded)
        batches.append(order[start:stop])
        start = stop
    return batches


def pad(ranked: Ranked, cells: np.ndarray, *, multiple: int) -> tuple[np.ndarray, np.ndarray]:
    """Lay cells out as rows of one array, ends filled with ``[PAD]``.

    Parameters
    ----------
    ranked
        Ranked cells.
    cells
        ``(b,)`` indices of the cells wanted.
    multiple
        The rows' length is that of the longest cell, rounded up to this multiple.

    Returns
    -------
    Tokens ``(b, length)`` int64 and the cells' own lengths ``(b,)`` int64.
    """
    cells = np.asarray(cells, dtype=np.int64)
    starts = ranked.indptr[cells]
    lengths = ranked.indptr[cells + 1] - starts
    columns = np.arange(_round_up(int(lengths.max(initial=0)), multiple))
    real = columns < lengths[:, None]
    ids = np.full(real.shape, PAD, dtype=np.int64)
    ids[real] = ranked.tokens[(starts[:, None] + columns)[real]]
    return ids, lengths


def _round_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
