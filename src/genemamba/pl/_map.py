"""Plot cells on a reference map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.patheffects import withStroke

from genemamba import maps
from genemamba._docs import documented
from genemamba._keys import MAP, map_keys, recorded
from genemamba.cells.labels import column
from genemamba.cells.open import require_anndata
from genemamba.errors import InputError
from genemamba.pl._style import axes, class_order, looks

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from genemamba.maps._load import MapLike
    from genemamba.maps.reference_map import ReferenceMap

_MOST_GREY = 50_000  # cells of the map that are drawn
_LEAST_SHARE = 0.005  # of the cells of the map, for a label to be written
_ROOM = np.array([0.16, 0.03])  # that a label takes, as a share of the plot
_BLURRED, _LAND = "#d9dde1", "#eceef0"


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
    means little. A UMAP distorts distances.

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
    ax = axes(ax, 8, 6)
    _grey(ax, reference)
    xy = np.asarray(adata.obsm[keys.umap])
    quality = adata.obs[keys.quality].to_numpy()
    unlike = quality < about["belongs"]
    if color is None and keys.label in adata.obs:
        color = keys.label
    size = float(np.clip(20_000 / max(1, len(xy)), 1.5, 14))
    values = None if color is None else _colors(adata, color)
    _cells(ax, xy, np.isfinite(quality) & ~unlike, values, size)
    if unlike.any():
        ax.scatter(
            xy[unlike, 0], xy[unlike, 1], s=size, c="#5f666d", marker="x", linewidths=0.6,
            rasterized=True, label=f"does not belong ({unlike.sum():,})",
        )  # fmt: skip
    _names(ax, reference)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8,
              markerscale=1.5, handletextpad=0.1)  # fmt: skip
    ax.set(xlabel="UMAP 1 of the map", ylabel="UMAP 2 of the map", xticks=[], yticks=[])
    ax.set_title(
        f"{len(xy):,} cells on {reference.name} ({reference.n_cells:,} cells, grey)",
        fontsize="medium",
    )
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _colors(adata: AnnData, color: str) -> pd.Series:
    """Return measurements as they are, and names."""
    if color in adata.obs and pd.api.types.is_float_dtype(adata.obs[color]):
        return adata.obs[color]
    return column(adata, color, "color", "adata")


def _grey(ax: Axes, reference: ReferenceMap) -> None:
    """Draw the map: a broad light coast, and its cells."""
    xy = np.asarray(reference.umap)
    if len(xy) > _MOST_GREY:
        xy = xy[np.sort(np.random.default_rng(0).choice(len(xy), _MOST_GREY, replace=False))]
    size = float(np.clip(30_000 / len(xy), 1, 20))
    ax.scatter(xy[:, 0], xy[:, 1], s=16 * size, c=_LAND, linewidths=0, rasterized=True)
    ax.scatter(xy[:, 0], xy[:, 1], s=size, c=_BLURRED, linewidths=0, rasterized=True)


def _cells(
    ax: Axes, xy: np.ndarray, shown: np.ndarray, values: pd.Series | None, size: float
) -> None:
    """Draw the cells, one group after the other."""
    if values is None:
        ax.scatter(
            xy[shown, 0], xy[shown, 1], s=size, c="#3f90da", linewidths=0, rasterized=True,
            label=f"cells ({shown.sum():,})",
        )  # fmt: skip
        return
    if pd.api.types.is_numeric_dtype(values):
        image = ax.scatter(
            xy[shown, 0], xy[shown, 1], s=size, c=values.to_numpy()[shown], cmap="viridis",
            linewidths=0, rasterized=True,
        )  # fmt: skip
        ax.figure.colorbar(image, ax=ax, label=str(values.name), shrink=0.6)
        return
    words = values.astype(str).to_numpy(dtype=str)
    order = [name for name in class_order(values.dropna()) if (words[shown] == name).any()]
    for name, (color, marker) in zip(order, looks(order), strict=True):
        own = np.flatnonzero(shown & (words == name))
        ax.scatter(
            xy[own, 0], xy[own, 1], s=size, color=color, marker=marker, linewidths=0,
            rasterized=True, label=f"{name} ({len(own):,})",
        )  # fmt: skip


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
        ax.text(at[0], at[1], name, fontsize=7, color="#2f353b", ha="center", va="center",
                path_effects=[withStroke(linewidth=2, foreground="w")])  # fmt: skip
