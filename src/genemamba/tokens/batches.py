"""Batches of cells in which next to nothing is padding: rows filled up, or of equal length."""

from __future__ import annotations

from collections import deque

import numpy as np

from .rank import Ranked
from .vocab import PAD


def longest_first(lengths: np.ndarray) -> np.ndarray:
    """Return the cells that have tokens, by index; equal ones in their own order."""
    return np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]


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
    order = longest_first(lengths)
    batches = []
    start = 0
    while start < len(order):
        padded = _round_up(int(lengths[order[start]]), multiple)
        stop = start + max(1, max_tokens_per_batch // padded)
        batches.append(order[start:stop])
        start = stop
    return batches


def pack(lengths: np.ndarray, row: int) -> list[np.ndarray]:
    """Fill rows with cells: the longest that is left, then the longest that still fits.

    Parameters
    ----------
    lengths
        ``(n_cells,)`` int, tokens of each cell. Cells without tokens are left out.
    row
        Tokens a row can hold; a cell longer than that has a row to itself.

    Returns
    -------
    int64 indices of cells, one array per row; the same lengths always give the same rows.

    Examples
    --------
    >>> import numpy as np
    >>> pack(np.array([3, 8, 0, 7, 2]), row=10)
    [array([1, 4]), array([3, 0])]
    """
    lengths = np.asarray(lengths)
    order = longest_first(lengths)
    longest = int(lengths.max(initial=0))
    left: list[deque[int]] = [deque() for _ in range(longest + 1)]
    for cell, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        left[length].append(cell)
    shorter = list(range(longest + 1))  # a length that has cells, or one that leads to it

    def fitting(room: int) -> int:
        at = room
        while at and not left[at]:
            shorter[at] = min(shorter[at], at - 1)
            shorter[at] = shorter[shorter[at]]
            at = shorter[at]
        return at

    rows = []
    while length := fitting(longest):
        own, room = [], max(row, length)
        while length := fitting(min(room, longest)):
            own.append(left[length].popleft())
            room -= length
        rows.append(np.array(own, dtype=np.int64))
    return rows


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
