"""From vectors and columns of cells to the folder of a map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genemamba._progress import tell
from genemamba.heads.knn import Reference
from genemamba.maps.arrays import write_arrays
from genemamba.maps.columns import columns_of, names_of
from genemamba.maps.held_out import Expected
from genemamba.maps.index import VectorIndex
from genemamba.maps.layout import NEAREST, lay_out, place
from genemamba.maps.reference_map import CELLS, SPACE, ReferenceMap, write_manifest
from genemamba.maps.space import Space
from genemamba.tokens import Measured

_LAID_OUT = 50_000
"""Cells that UMAP lays out; of a larger map, the others are placed among them."""
_BLOCK = 4_096
_SOUGHT = 256
"""Cells among which neighbours of other batches are looked for."""


def write_map(
    folder: Path,
    read: Callable[[int, int], np.ndarray],
    obs: pd.DataFrame,
    batch: np.ndarray | None,
    space: Space,
    expected: Expected,
    measured: Measured,
    about: Mapping[str, Any],
    *,
    named: bool = True,
    seed: int = 0,
) -> ReferenceMap:
    """Write a map; an interrupted one resumes in the same folder, to the same bytes.

    Parameters
    ----------
    read
        Returns the vectors of cells from one position to another, float32 without NaN.
    obs
        The columns to keep, as :func:`genemamba.maps.columns.read_column` returns them, with the
        names of the cells as index.
    batch
        ``(n_cells,)`` codes of batches, or None.
    space
        What makes the vectors.
    expected
        What cells look like that belong on it.
    measured
        The genes that the cells measure.
    about
        What ``map.json`` says beside columns and files: ``label_key``, ``model``, ``params``,
        ``held_out`` and more.
    named
        Keep the names of the cells.
    """
    rng = np.random.default_rng(seed)
    index = VectorIndex.build(read, len(obs), folder, seed=seed)
    tell(f"map: {len(obs):,} cells are indexed; UMAP follows")
    described, arrays = columns_of(obs)
    arrays |= names_of(obs.index) if named else {}
    arrays |= {"umap": _umap(index, batch, rng, seed)}
    arrays["expected.distance"] = expected.distance
    arrays["expected.named"] = expected.named.astype(np.int32)
    write_arrays(arrays, folder / CELLS)
    genes = {
        "measured.tokens": measured.tokens,
        "measured.share": measured.share.astype(np.float16),
    }
    if expected.pool is not None:
        genes["expected.pool"] = expected.pool.astype(np.float16)
    write_arrays(space.arrays() | genes, folder / SPACE)
    written = {
        **about,
        "n_cells": len(obs),
        "width": index.width,
        "columns": described,
        "held_out": {**about["held_out"], "temperature": expected.temperature},
    }
    write_manifest(folder, written, [*index.files, CELLS, SPACE])
    return ReferenceMap.open(folder)


def _umap(
    index: VectorIndex, batch: np.ndarray | None, rng: np.random.Generator, seed: int
) -> np.ndarray:
    """Return the picture of all cells, ``(n_cells, 2)`` float32."""
    if index.n <= _LAID_OUT:
        pool = Reference.unlabelled(index.vectors(np.arange(index.n)))
        return lay_out(*_across(index, pool, batch), seed)
    anchors = np.sort(rng.choice(index.n, _LAID_OUT, replace=False))
    pool = Reference.unlabelled(index.vectors(anchors))
    batch = None if batch is None else batch[anchors]
    xy = lay_out(*_across(pool, pool, batch), seed)
    parts = []
    for start in range(0, index.n, _BLOCK):
        own = np.arange(start, min(start + _BLOCK, index.n))
        near, distance = pool.search(index.vectors(own), NEAREST)
        parts.append(place(xy[near], distance))
    out = np.concatenate(parts)
    out[anchors] = xy
    return out


def _across(
    index: VectorIndex | Reference, pool: Reference, batch: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return 15 neighbours of each cell, half of them of other batches where these are near.

    Otherwise batches of one tissue would be islands of their own. Each cell comes first itself.
    """
    n = len(pool.X)
    most = min(n, NEAREST if batch is None else _SOUGHT)
    out = np.empty((n, min(n, NEAREST)), np.int64), np.empty((n, min(n, NEAREST)), np.float32)
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        found, distance = index.search(pool.X[rows], most)
        if batch is not None:
            other = batch[found] != batch[rows][:, None]
            first = (other & (np.cumsum(other, axis=1) <= NEAREST // 2)) | (
                ~other & (np.cumsum(~other, axis=1) <= NEAREST - NEAREST // 2)
            )
            order = np.argsort(~first, axis=1, kind="stable")[:, : out[0].shape[1]]
            order.sort(axis=1)
            found, distance = (np.take_along_axis(a, order, 1) for a in (found, distance))
        out[0][rows], out[1][rows] = found, distance
    return out
