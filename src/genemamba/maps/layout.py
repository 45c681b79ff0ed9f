"""The two-dimensional picture of a map, and where other cells lie on it.

Shapes: N cells of the map, M others, k neighbours.
"""

from __future__ import annotations

import warnings

import numpy as np

from genemamba.heads.knn import nearness

NEAREST = 15
"""Neighbours that place a cell."""
_ROUNDS = 20
_CLOSE = 1e-3  # of the picture's units


def lay_out(neighbours: np.ndarray, distance: np.ndarray, seed: int) -> np.ndarray:
    """Return the UMAP of cells with these neighbours, ``(N, 2)`` float32 (McInnes et al., 2018).

    Each cell is its own first neighbour.
    """
    from umap import UMAP

    n, k = neighbours.shape
    if n < 4:  # UMAP needs more
        return np.column_stack([np.arange(n), np.zeros(n)]).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one thread for a seed; no search index is needed
        reducer = UMAP(
            n_neighbors=k, random_state=seed, n_jobs=1, precomputed_knn=(neighbours, distance, None)
        )
        return np.asarray(reducer.fit_transform(np.zeros((n, 1), np.float32)), dtype=np.float32)


def place(xy: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Return where cells lie, ``(M, 2)`` float32, from the places of their neighbours.

    It is the geometric median, weighted by nearness: a cell with neighbours on two islands lies on
    the one with more of them, not in the sea between. Each cell is placed on its own.

    Parameters
    ----------
    xy
        ``(M, k, 2)`` places of the neighbours.
    distance
        ``(M, k)`` distances to them.
    """
    near = nearness(distance.astype(np.float64))
    points = xy.astype(np.float64)
    found = _mean(points, near)
    for _ in range(_ROUNDS):
        away = np.sqrt(((points - found[:, None]) ** 2).sum(axis=-1))
        found = _mean(points, near / np.maximum(away, _CLOSE))
    return found.astype(np.float32)


def _mean(points: np.ndarray, near: np.ndarray) -> np.ndarray:
    share = near / near.sum(axis=1, keepdims=True)
    return (points * share[:, :, None]).sum(axis=1)
