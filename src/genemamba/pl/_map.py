"""Plot cells on a reference map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.patheffects import withStroke

from genemamba import maps
from genemamba._docs import documented
from genemamba._keys import MAP, map_keys, recorded
from genemamba.cells.open import require_anndata
from genemamba.errors import InputError
from genemamba.pl._cells import draw_groups, draw_values, legend_columns, points
from genemamba.pl._style import COLORS, GREY, axes, faded, heading, legend_right

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from genemamba.maps._load import MapLike
    from genemamba.maps.reference_map import ReferenceMap

_MOST_GREY = 50_000  # cells of the map that are drawn
_LEAST_SHARE = 0.005  # of the cells of the map, for a label to be written
_ROOM = np.array([0.16, 0.03])  # that a label takes, as a share of the plot


@documented
def map(
    adata: AnnData,
    reference_map: MapLike = "genemamba-body",
    *,
    color: str | None = None,
    key: str = MAP,
    ax: Axes | None = None,
) -> Axes:
    """Plot where cells lie on a reference map: the map in grey, its labels, the cells in colour.

    Cells that do not belong on the map (quality below .05) are small grey crosses: their place
    means little. A UMAP distorts distances. Groups have scanpy's colours, if
    ``uns["<color>_colors"]`` has them, and grey for "unknown"; the legend counts their cells.

    Parameters
    ----------
    adata
        Cells that :func:`genemamba.tl.map` laid on the map.
    reference_map
        The same map.
    color
        Column of ``obs`` to colour by; by default the labels from the map, if it has any.
    key
        Prefix of the slots, the `key_added` of :func:`genemamba.tl.map`.
    {plotted}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.tl.map(adata, layer="raw")
    >>> ax = gm.pl.map(adata, color="bulk_labels")
    """
    require_anndata(adata)
    keys, reference = map_keys(key), maps.load(reference_map)
    about = recorded(adata, keys.record)
    if keys.umap not in adata.obsm or keys.quality not in adata.obs or not about:
        raise InputError(
            f"adata.obsm[{keys.umap!r}] is missing", "run gm.tl.map(adata, reference_map) first"
        )
    if about.get("map_sha256") != reference.sha256:
        raise InputError(
            f"the cells lie on the map {about.get('map')!r}, not on {reference.name!r}",
            f"give reference_map={about.get('map')!r}, or run gm.tl.map again",
        )
    xy, quality = np.asarray(adata.obsm[keys.umap]), adata.obs[keys.quality].to_numpy()
    unlike = quality < about["belongs"]
    color = keys.label if color is None and keys.label in adata.obs else color
    named = color in adata.obs and not pd.api.types.is_numeric_dtype(adata.obs[color])
    columns = legend_columns(adata.obs[color].nunique() + 1) if named else 1
    ax = axes(ax, 5.2 + 2.8 * columns, 6)
    _grey(ax, reference)
    _names(ax, reference)  # under the cells, which they would hide
    _cells(ax, xy, adata, color, np.isfinite(quality) & ~unlike)
    if unlike.any():
        ax.scatter(
            xy[unlike, 0], xy[unlike, 1], s=6, c=GREY, marker="x", linewidths=0.4, zorder=1.2,
            rasterized=True, label=f"like no cell of the map ({unlike.sum():,})",
        )  # fmt: skip
    if ax.get_legend_handles_labels()[0]:
        legend_right(ax, fontsize=8, handletextpad=0.1, ncols=columns, title=color,
                     title_fontsize=8)  # fmt: skip
    ax.set(xlabel="UMAP 1 of the map", ylabel="UMAP 2 of the map", xticks=[], yticks=[])
    ax.spines[["top", "right"]].set_visible(False)
    grey = f"(grey: its {reference.n_cells:,} cells)"
    heading(
        ax, f"{len(xy):,} cells on the map {reference.name} {grey}",
        "cells of a kind lie together; gaps and distances mean little",
    )  # fmt: skip
    return ax


def _cells(ax: Axes, xy: np.ndarray, adata: AnnData, color: str | None, shown: np.ndarray) -> None:
    """Draw the cells, in one colour, by a measurement, or by group."""
    if color is None:
        label = f"cells ({shown.sum():,})"
        points(ax, xy[shown], 9, c=COLORS[0], label=label)
    elif color in adata.obs and pd.api.types.is_numeric_dtype(adata.obs[color]):
        draw_values(ax, xy, adata.obs[color], shown)
    else:
        draw_groups(ax, xy, adata, color, shown)


def _grey(ax: Axes, reference: ReferenceMap) -> None:
    """Draw the map: a broad light coast, and its cells."""
    xy = np.asarray(reference.umap)
    if len(xy) > _MOST_GREY:
        xy = xy[np.sort(np.random.default_rng(0).choice(len(xy), _MOST_GREY, replace=False))]
    size = float(np.clip(30_000 / len(xy), 1, 20))
    for area, share in ((16 * size, 0.13), (size, 0.3)):
        ax.scatter(xy[:, 0], xy[:, 1], s=area, c=faded(ax, share), linewidths=0, rasterized=True)


def _names(ax: Axes, reference: ReferenceMap) -> None:
    """Write the largest labels of the map where most of their cells lie."""
    label = reference.about["label_key"]
    if not label:
        return
    codes, xy = reference.columns.codes(label), np.asarray(reference.umap)
    n = np.bincount(codes[codes >= 0], minlength=len(reference.columns.values(label)))
    largest = [c for c in np.argsort(-n, kind="stable") if n[c] >= _LEAST_SHARE * n.sum()]
    size = np.ptp(xy, axis=0)
    written: list[np.ndarray] = []
    for code in largest:
        own = xy[codes == code]
        middle = np.median(own, axis=0)
        at = own[((own - middle) ** 2).sum(axis=1).argmin()]  # a cell, not the sea between two
        if any((np.abs(at - other) < size * _ROOM).all() for other in written):
            continue  # it would cover another name
        written.append(at)
        name = reference.columns.values(label)[code]
        ax.annotate(name, at, (0, 4), textcoords="offset points", fontsize=7, ha="center",
                    va="bottom", zorder=1.1,
                    path_effects=[withStroke(linewidth=2, foreground=faded(ax, 0))])  # fmt: skip
