"""Cells to the most similar cells of a reference map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba import maps, models
from genemamba._docs import documented
from genemamba._settings import check_whole
from genemamba.cells.labels import full_column
from genemamba.cells.open import cells_of
from genemamba.cells.read import Reading
from genemamba.errors import InputError, shown
from genemamba.maps.found import CellSearch, enrichment
from genemamba.tl._embedding import Embedding, Running
from genemamba.tl._mapped import place, require_same_model

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.maps._load import MapLike
    from genemamba.maps.reference_map import ReferenceMap
    from genemamba.models._load import ModelLike
    from genemamba.network.runtime import Backend, BatchSize, Device, Precision
    from genemamba.tokens.organisms import Organism

ALL = "all cells"


@documented
def search(
    adata: AnnData | MuData | np.ndarray,
    reference_map: MapLike = "genemamba-body",
    *,
    k: int = 50,
    groupby: str | None = None,
    exclude: Mapping[str, str | Sequence[str]] | None = None,
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
) -> CellSearch:
    """Ask where cells like these have been seen: find the most similar cells of a reference map.

    Parameters
    ----------
    adata
        Cells × genes, as for :func:`genemamba.tl.embed`: one cell (``adata[:1]``), some, or all. Or
        an array of vectors on the map, ``(d,)`` or ``(n, d)``: those of ``genemamba-body`` are rows
        of ``obsm["X_genemamba"]``; those of other maps come from ``reference_map.index.vectors``.
    reference_map
        Name or folder of a map, or an open one: see :func:`genemamba.maps.load`.
    k
        Number of cells to find for each query.
    groupby
        Column of ``obs``: each group, such as a cluster, is one query, the mean of its cells'
        vectors. Otherwise each cell is a query, and what is frequent among the cells found is
        counted over all queries together.
    exclude
        Cells of the map to leave out, by column and values: ``{"study": "mine"}``.
    {model}
        The one that made the map.
    {reading}
    {running}

    Returns
    -------
    Two tables; writes nothing.

    ``cells``
        A row per query and cell found, nearest first: ``query``, ``rank`` (from 1), ``cell`` (its
        name in the map), ``distance`` (Euclidean), and the columns that the map keeps.
    ``enrichment``
        A row per query, column of the map and value: ``found`` (number of different cells),
        ``share`` of the cells found, ``background`` (share of the cells that could be found),
        ``fold`` (their ratio), ``p_value`` (hypergeometric) and ``fdr`` (Benjamini–Hochberg).
        Neighbours are alike, so p-values are too small: read them as an order.

    Raises
    ------
    InputError
        If no gene is known, `k` is more than the map has cells, or a column or value is unknown.
    MapError
        If the map is missing, damaged, or was made with another model.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> found = gm.tl.search(adata, layer="raw", groupby="louvain", k=20)
    >>> found.cells.query("query == '8'")["cell_type"].mode()[0]
    'plasma cell'
    """
    check_whole("k", k)
    reference = maps.load(reference_map)
    reference.require(k)
    among = _allowed(reference, exclude, k)
    if isinstance(adata, np.ndarray):
        if groupby is not None:
            raise InputError(
                f"groupby={groupby!r} names a column, and an array has none", "leave out groupby"
            )
        names, X = _of_array(adata, reference)
    else:
        with cells_of(adata, mod, copy=False) as (own, _):
            groups = None if groupby is None else full_column(own, groupby, "groupby", "adata")
            loaded = models.load(model)
            require_same_model(reference, loaded)
            running = Running(device, precision, backend, batch_size)
            cells = Embedding(own, loaded, Reading(layer, gene_ids, organism, max_tokens), running)
            X = place(reference.space, cells)
            names, X = _queries(own.obs_names, X, groups)
    position, distance = _nearest(reference, X, k, among)
    table = _table(reference, names, position, distance)
    pooled = groupby is None and len(names) > 1
    rows = {ALL: position.ravel()} if pooled else dict(zip(names, position, strict=True))
    return CellSearch(
        table,
        enrichment(reference.columns, rows, among, reference.n_cells),
        reference.name,
        reference.n_cells if among is None else len(among),
    )


def _of_array(vectors: np.ndarray, reference: ReferenceMap) -> tuple[list[str], np.ndarray]:
    """Check vectors; return a name for each, and the vectors on the map."""
    X = np.atleast_2d(vectors)
    width = reference.index.width
    if X.ndim != 2 or X.shape[1] != width or X.dtype.kind != "f" or not np.isfinite(X).all():
        raise InputError(
            f"the array has shape {vectors.shape} and dtype {vectors.dtype}, or holds NaN",
            f"give finite vectors of this map, {width} numbers each, or cells",
        )
    return [str(i) for i in range(len(X))], X.astype(np.float32)


def _queries(
    names: pd.Index, X: np.ndarray, groups: pd.Series | None
) -> tuple[list[str], np.ndarray]:
    """Return the names and vectors to search for; cells without a known gene are left out."""
    known = np.isfinite(X).all(axis=1)
    if groups is None:
        return list(map(str, names[known])), X[known]
    words = groups.astype(str).to_numpy(dtype=str)[known]
    order = [g for g in _in_order(groups) if g in set(words)]
    return order, np.stack([X[known][words == g].mean(axis=0) for g in order])


def _in_order(groups: pd.Series) -> list[str]:
    if isinstance(groups.dtype, pd.CategoricalDtype):
        return [str(g) for g in groups.cat.categories]
    return sorted(groups.astype(str).unique())


def _allowed(
    reference: ReferenceMap, exclude: Mapping[str, str | Sequence[str]] | None, k: int
) -> np.ndarray | None:
    """Return the positions of the cells that may be found; None for all."""
    if not exclude:
        return None
    if not isinstance(exclude, Mapping):
        raise InputError(f"exclude={shown(exclude)} is no mapping", 'give {"study": "mine"}, say')
    keep = np.ones(reference.n_cells, dtype=bool)
    for name, values in exclude.items():
        columns = reference.columns
        if name not in columns or columns.is_number(name):
            words = [repr(n) for n in columns.names if not columns.is_number(n)]
            raise InputError(
                f"exclude names {shown(name)}, and the map {reference.name!r} has no such column "
                "of words",
                f"use one of {', '.join(words)}" if words else "leave out exclude",
            )
        known = columns.values(name)
        for value in values if isinstance(values, (list, tuple, set)) else [values]:
            if value not in known:
                raise InputError(
                    f"exclude: no cell of the map has {shown(value)} in {name!r}",
                    f"its values are {', '.join(map(repr, known[:8]))}"
                    + (", …" if len(known) > 8 else ""),
                )
            keep &= columns.codes(name) != known.index(value)
    if (left := int(keep.sum())) < k:
        raise InputError(
            f"k={k} is more than the {left:,} cells that are left",
            f"exclude fewer, or give k={left}" if left else "exclude fewer",
        )
    return np.flatnonzero(keep)


def _nearest(
    reference: ReferenceMap, X: np.ndarray, k: int, among: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest allowed cells: more are searched until enough of them are allowed."""
    if among is None:
        return reference.search(X, k)
    keep = np.zeros(reference.n_cells, dtype=bool)
    keep[among] = True
    position = np.empty((len(X), k), dtype=np.int64)
    distance = np.empty((len(X), k), dtype=np.float32)
    left, most = np.arange(len(X)), min(2 * k, reference.n_cells)
    while len(left):
        found, away = reference.search(X[left], most)
        allowed = keep[found]
        enough = allowed.sum(axis=1) >= k
        for row in np.flatnonzero(enough):
            kept = np.flatnonzero(allowed[row])[:k]
            position[left[row]], distance[left[row]] = found[row, kept], away[row, kept]
        left, most = left[~enough], min(4 * most, reference.n_cells)
    return position, distance


def _table(
    reference: ReferenceMap, names: list[str], position: np.ndarray, distance: np.ndarray
) -> pd.DataFrame:
    k, flat = position.shape[1], position.ravel()
    table: dict[str, Any] = {
        "query": np.repeat(np.array(names, dtype=object), k),
        "rank": np.tile(np.arange(1, k + 1), len(names)),
        "cell": reference.columns.cell_names(flat),
        "distance": distance.ravel(),
    }
    for name in reference.columns.names:
        table[name] = reference.columns.take(name, flat)
    return pd.DataFrame(table)
