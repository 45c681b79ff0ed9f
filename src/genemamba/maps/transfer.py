"""What the neighbours of a cell are: words by vote, numbers by mean.

Shapes: M cells, k neighbours, C values.
"""

from __future__ import annotations

import numpy as np

from genemamba.heads.knn import ADVANCE, nearness

_BLOCK = 4_096  # cells whose votes for all values are in memory at once


def voted(
    codes: np.ndarray, distance: np.ndarray, n_values: int, advance: float = ADVANCE
) -> np.ndarray:
    """Return the share of each value in the weighted votes of neighbours, ``(M, C)`` float32.

    Parameters
    ----------
    codes
        ``(M, k)`` values of the neighbours; -1 has no vote.
    distance
        ``(M, k)``.
    n_values
        C.
    advance
        Votes that each value gets in advance.
    """
    near = np.where(codes >= 0, nearness(distance), 0)
    votes = np.empty((len(codes), n_values + 1))
    votes[:] = np.maximum(advance * near.mean(axis=1, keepdims=True), 1e-30)
    np.add.at(votes, (np.arange(len(codes))[:, None], codes), near)  # -1 is the last column
    votes = votes[:, :n_values]
    return (votes / votes.sum(axis=1, keepdims=True)).astype(np.float32)


def most_voted(
    codes: np.ndarray, distance: np.ndarray, n_values: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the value with most votes and its share; -1 and NaN where no neighbour has one."""
    best = np.full(len(codes), -1, dtype=np.int64)
    share = np.full(len(codes), np.nan, dtype=np.float32)
    for start in range(0, len(codes) if n_values else 0, _BLOCK):
        rows = slice(start, start + _BLOCK)
        found = voted(codes[rows], distance[rows], n_values, 0)
        some = (codes[rows] >= 0).any(axis=1)
        best[rows] = np.where(some, found.argmax(axis=1), -1)
        share[rows] = np.where(some, found.max(axis=1), np.nan)
    return best, share


def averaged(values: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Return the weighted mean of the neighbours' numbers, ``(M,)`` float32; NaN without any."""
    there = np.isfinite(values)
    near = np.where(there, nearness(distance), 0)
    total = near.sum(axis=1)
    mean = (np.where(there, values, 0) * near).sum(axis=1) / np.where(total > 0, total, np.nan)
    return mean.astype(np.float32)
