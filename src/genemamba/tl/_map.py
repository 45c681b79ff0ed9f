"""Cells to their places on a reference map."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba import maps, models
from genemamba._docs import documented
from genemamba._keys import MAP, OBSM_EMBEDDING, UNS_MAP, MapKeys, colors_key, map_keys
from genemamba._progress import tell
from genemamba._settings import check_whole
from genemamba.cells.colors import write_colors
from genemamba.cells.labels import UNKNOWN, read_groups
from genemamba.cells.open import cells_of
from genemamba.cells.read import Reading
from genemamba.cells.record import check_key, check_slots, entry_of, record, recorded
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.heads import knn
from genemamba.maps.held_out import BELONGS
from genemamba.maps.layout import NEAREST, place
from genemamba.maps.transfer import averaged, most_voted, voted
from genemamba.tl import _mapped
from genemamba.tl._embedding import Embedding, Running

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.maps._load import MapLike
    from genemamba.maps.reference_map import ReferenceMap
    from genemamba.models._load import ModelLike
    from genemamba.network.runtime import Backend, BatchSize, Device, Precision
    from genemamba.tokens.organisms import Organism

_BLOCK = 4_096  # cells whose votes are in memory at once


@documented
def map(
    adata: AnnData | MuData,
    reference_map: MapLike = "genemamba-body",
    *,
    k: int = 30,
    correct: bool = False,
    batch_key: str | None = None,
    model: ModelLike = "genemamba-mini",
    mod: str | None = None,
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    organism: Organism = "auto",
    max_tokens: int = 2048,
    batch_size: BatchSize = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    key_added: str = MAP,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Lay cells on a reference map: neighbours, labels, a place on its UMAP, and whether they fit.

    A cell's place depends on that cell and the map alone, unless `correct` is set.

    Parameters
    ----------
    adata
        Cells × genes, as for :func:`genemamba.tl.embed`.
    reference_map
        Name or folder of a map, or an open one: see :func:`genemamba.maps.load`. Own maps are made
        with :func:`genemamba.tl.build_map`.
    k
        Number of neighbours to find, and to vote.
    correct
        Shift the cells towards the map where they differ from it as a batch, as Symphony does [1]_:
        one shift for each group of similar cells. The map itself is not changed. Use it for cells
        of another technology; leave it out for cells of other types than the map's, for they would
        be shifted, too.
    batch_key
        With `correct`, a column of ``obs`` with batches of `adata`, each of which is shifted on its
        own. By default, `adata` is one batch.
    {model}
        The one that made the map.
    {reading}
    {running}
    key_added
        Prefix of the slots.
    {copy}

    Returns
    -------
    ``None``, or the modified copy. Writes (with `key_added` in place of "genemamba_map")

    ``adata.obs["genemamba_map_label"]``
        If the map has labels: categorical, the label with most votes of the neighbours, weighted by
        nearness; "unknown" where the quality is below .05, NaN where no neighbour has a label.
    ``adata.obs["genemamba_map_confidence"]``
        If the map has labels: float32, probability that the label is right, calibrated on cells of
        the map that were held out, with their batch if the map has batches. Of unknown cells, that
        of the label that was rejected.
    ``adata.obs["genemamba_map_quality"]``
        float32, does the cell belong on the map? The fraction of the map's held-out cells that lie
        as far from their nearest ten, mostly among those with the same label; by the map's vectors
        and, without `correct`, by the embedding. After `correct`, cells of foreign types may pass.
        A map that was built without batches rejects many cells of other studies.
    ``adata.obs["genemamba_map_<column>"]``, ``adata.obs["genemamba_map_<column>_confidence"]``
        Of each other column of the map: the value with most votes and its share, not calibrated; of
        numbers, the weighted mean.
    ``adata.obsm["X_umap_reference"]``
        float32, ``n_obs × 2``, the place on the map's UMAP, from its 15 nearest neighbours. With
        another `key_added`: that, and "_umap".
    ``adata.obsm["genemamba_map_neighbors"]``, ``adata.obsm["genemamba_map_distances"]``
        int64 and float32, ``n_obs × k``: positions in the map and Euclidean distances, nearest
        first. Cells without a known gene have -1 and NaN, and NaN in all slots above.
    ``adata.obsm["X_genemamba"]``
        The embedding and its record, if the slot was empty.
    ``adata.uns["genemamba_map_label_colors"]``
        Colours of the labels, for scanpy's plots; "unknown" is grey.
    ``adata.uns["genemamba"]["map"]``
        Map, its sha256, model, parameters, number of cells that do not belong on it, and the share
        of the map's counts on genes that `adata` does not measure.

    Raises
    ------
    InputError
        If `k` is more than the map has cells, no gene is known, or a slot is taken.
    MapError
        If the map is missing, damaged, or was made with another model. Nothing has been written
        then.

    References
    ----------
    .. [1] Kang et al., *Efficient and precise single-cell reference atlas mapping with Symphony*,
       Nature Communications 2021.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.tl.map(adata, layer="raw")
    >>> adata.obsm["X_umap_reference"].shape
    (700, 2)
    """
    check_whole("k", k)
    check_key(key_added, MAP)
    if batch_key is not None and not correct:
        raise InputError(f"batch_key={batch_key!r} without correct", "add correct=True")
    keys = map_keys(key_added)
    reference = maps.load(reference_map)
    reference.require(k)
    if correct and not reference.about["label_key"]:
        raise InputError(
            f"the map {reference.name!r} has no labels, onto which cells could be shifted",
            "build it with label_key, or leave out correct",
        )
    reading = Reading(layer, gene_ids, organism, max_tokens)
    running = Running(device, precision, backend, batch_size)
    with cells_of(adata, mod, copy, doing="map", to=f"obsm[{keys.umap!r}]") as (own, result):
        names = _columns(reference, keys)
        check_slots(own, keys.record, UNS_MAP, obs=names, obsm=keys.obsm)
        batch = read_groups(own, batch_key)
        loaded = models.load(model)
        _mapped.require_same_model(reference, loaded)
        cells = Embedding(own, loaded, reading, running)
        X = _mapped.place(reference.space, cells)
        known = np.isfinite(X).all(axis=1)
        if correct:
            of_batch = np.zeros(len(X)) if batch is None else batch
            X[known] = reference.space.corrected(X[known], of_batch[known])
        # whatever k, the nearest 15 are read for quality and place
        wide = min(max(k, NEAREST), reference.n_cells)
        found, distance = reference.search(X[known], wide)
        lost = _mapped.warn_of_genes(reference, cells)
        if not cells.reused and OBSM_EMBEDDING not in own.obsm:
            cells.write(own, OBSM_EMBEDDING)
        for old in {*recorded(own, keys.record).get("obs", ())} & {*own.obs} - {*names}:
            del own.obs[old]
            own.uns.pop(colors_key(old), None)
        by_embedding = None if correct else cells.vectors[known]
        n_unlike = _write(own, keys, reference, known, found, distance, k, by_embedding)
        params: dict[str, Any] = {"k": k, "correct": correct, "batch_key": batch_key or ""}
        about: dict[str, Any] = {
            **entry_of(loaded, reading, cells.runtime, **params),
            "map": reference.name,
            "map_sha256": reference.sha256,
            "obs": np.array(names, dtype=str),
            "belongs": BELONGS,
            "cells_that_do_not_belong": n_unlike,
            "map_counts_not_measured": lost,
        }
        record(own, keys.record, about)
    n = int(known.sum())
    tell(f"map: {n:,} cells on {reference.name!r} ({reference.n_cells:,} cells), "
         f"{n_unlike:,} do not belong there")  # fmt: skip
    if n_unlike > 0.5 * n:
        warnings.warn(
            f"{n_unlike:,} of {n:,} cells do not belong on the map {reference.name!r}: they are of "
            "types that it lacks, or were measured in another way; use a map of this tissue, or, "
            "for another technology, correct=True",
            GeneMambaWarning,
            stacklevel=2,
        )
    return result


def _columns(reference: ReferenceMap, keys: MapKeys) -> list[str]:
    """Name the columns of ``obs`` to write."""
    label = reference.about["label_key"]
    names = [keys.quality, *([keys.label, keys.confidence] if label else [])]
    for name in reference.columns.names:
        if name != label:
            names.append(keys.column(name))
            if not reference.columns.is_number(name):
                names.append(keys.column(f"{name}_confidence"))
    return names


def _write(
    adata: AnnData,
    keys: MapKeys,
    reference: ReferenceMap,
    known: np.ndarray,
    found: np.ndarray,
    distance: np.ndarray,
    k: int,
    embedding: np.ndarray | None,
) -> int:
    """Write the slots; return how many cells do not belong on the map."""
    label, columns = reference.about["label_key"], reference.columns
    near = distance[:, : knn.NEAREST].mean(axis=1)
    xy = place(np.asarray(reference.umap)[found[:, :NEAREST]], distance[:, :NEAREST])
    found, distance = found[:, :k], distance[:, :k]
    named = np.ones(len(found), dtype=bool)
    code = np.zeros(len(found), dtype=np.int64)
    confidence = np.zeros(len(found), dtype=np.float32)
    if label:
        of_map = columns.codes(label)
        for start in range(0, len(found), _BLOCK):
            rows = slice(start, start + _BLOCK)
            votes = of_map[found[rows]]
            named[rows] = (votes >= 0).any(axis=1)
            shares = voted(votes, distance[rows], len(columns.values(label)))
            code[rows] = shares.argmax(axis=1)
            confidence[rows] = reference.expected.confidence(shares).max(axis=1)
    quality = reference.expected.quality(near, code, embedding)
    unlike = quality < BELONGS
    _put(adata, keys.quality, quality, known)
    if label:
        values = np.array(columns.values(label), dtype=object)[code]
        values[~named], confidence[~named] = np.nan, np.nan
        values[unlike] = UNKNOWN
        write_colors(adata, keys.label, _put(adata, keys.label, values, known))
        _put(adata, keys.confidence, confidence, known)
    for name in columns.names:
        if name == label:
            continue
        if columns.is_number(name):
            of_map = columns.numbers(name)
            _put(adata, keys.column(name), averaged(of_map[found], distance), known)
            continue
        kinds = columns.values(name)
        best, share = most_voted(columns.codes(name)[found], distance, len(kinds))
        _put(adata, keys.column(name), np.array([*kinds, np.nan], dtype=object)[best], known)
        _put(adata, keys.column(f"{name}_confidence"), share, known)
    adata.obsm[keys.umap] = _spread(xy, known, np.nan)
    adata.obsm[keys.neighbors] = _spread(found, known, -1)
    adata.obsm[keys.distances] = _spread(distance, known, np.nan)
    return int(unlike.sum())


def _put(adata: AnnData, key: str, values: np.ndarray, known: np.ndarray) -> list[str]:
    """Write a column of ``obs``, NaN where a cell has no known gene; return its categories."""
    there: list[str] = []
    if values.dtype == object:
        whole = np.full(len(known), np.nan, dtype=object)
        whole[known] = values
        there = sorted({v for v in values if isinstance(v, str)}, key=lambda v: (v == UNKNOWN, v))
        adata.obs[key] = pd.Categorical(whole, there)
    else:
        adata.obs[key] = _spread(values, known, np.nan)
    return there


def _spread(values: np.ndarray, known: np.ndarray, missing: float) -> np.ndarray:
    whole = np.full((len(known), *values.shape[1:]), missing, dtype=values.dtype)
    whole[known] = values
    return whole
