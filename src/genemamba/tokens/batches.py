"""Batches of cells with little padding: packed rows, or cells of similar length."""

from __future__ import annotations

from collections import deque

import numpy as np

from .rank import Ranked
from .vocab import PAD


def longest_first(lengths: np.ndarray) -> np.ndarray:
    """Return the indices of cells with tokens, the longest first (stable)."""
    return np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]


def length_batches(
    lengths: np.ndarray, *, max_tokens_per_batch: int, multiple: int
) -> list[np.ndarray]:
    """Split cells with tokens into batches of similar length, the longest first.

    A batch is padded to its longest cell, rounded up to a multiple of `multiple`; then it has at
    most `max_tokens_per_batch` tokens, or one cell.

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
    """Pack cells with tokens into rows of `row` tokens, the longest first, where they first fit.

    A longer cell has a row to itself. Returns the cells of each row, int64.

    >>> pack(np.array([3, 8, 0, 7, 2]), row=10)
    [array([1, 4]), array([3, 0])]
    """
    lengths = np.asarray(lengths)
    order = longest_first(lengths)
    longest = int(lengths.max(initial=0))
    left: list[deque[int]] = [deque() for _ in range(longest + 1)]
    for cell, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        left[length].append(cell)
    shorter = list(range(longest + 1))  # for each length, a shorter one that may have cells left

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


def pad(ranked: Ranked, cells: np.ndarray, *, multiple: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens of some cells as rows filled with ``[PAD]``, and their lengths, int64.

    Rows are as long as the longest cell, rounded up to a multiple of `multiple`.
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
