"""Cells as points of a UMAP, by group or by measurement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from genemamba.cells.colors import UNKNOWN_COLOR
from genemamba.cells.labels import column
from genemamba.pl._style import class_order, looks_of, short

MISSING = "no value"
_MOST_ROWS = 22  # of a legend, then it gets another column


def draw_groups(
    ax: Axes, xy: np.ndarray, adata: AnnData, key: str, shown: np.ndarray | None = None
) -> None:
    """Draw the cells that are `shown` by group, in random order, so that no group hides another."""
    cells = np.arange(len(xy)) if shown is None else np.flatnonzero(shown)
    cells = np.random.default_rng(0).permutation(cells)
    names = column(adata, key, "color", "adata").iloc[cells]
    groups = class_order(names.dropna())
    codes = pd.Categorical(names.astype(object).map(str, na_action="ignore"), groups).codes
    styles = [*looks_of(adata, key, groups), (UNKNOWN_COLOR, ".")]  # the last: without a group
    colors, markers = (np.array(look)[codes] for look in zip(*styles, strict=True))
    for marker in dict.fromkeys(markers.tolist()):
        own = markers == marker
        points(ax, xy[cells[own]], _size(len(xy)), c=colors[own].tolist(), marker=marker)
    counts = np.bincount(codes + 1, minlength=len(styles))
    found = zip([*groups, MISSING], styles, [*counts[1:], counts[0]], strict=True)
    for name, (color, marker), n in found:
        if n:
            label = f"{short(name)} ({n:,})"
            points(ax, np.empty((0, 2)), 25, color=color, marker=marker, label=label)


def draw_values(ax: Axes, xy: np.ndarray, values: pd.Series, shown: np.ndarray) -> None:
    """Draw the cells that are `shown` by a measurement, with a colour bar; grey without one."""
    number = values.to_numpy(float)
    there = np.isfinite(number)
    if without := int((shown & ~there).sum()):
        points(ax, xy[shown & ~there], _size(len(xy)), color=UNKNOWN_COLOR, marker=".",
                label=f"{MISSING} ({without:,})")  # fmt: skip
    own = shown & there
    image = points(ax, xy[own], _size(len(xy)), c=number[own], cmap="viridis")
    ax.figure.colorbar(image, ax=ax, label=str(values.name), shrink=0.6)


def points(ax: Axes, xy: np.ndarray, size: float, **look: Any) -> PathCollection:
    """Draw cells over what else the axes show."""
    return ax.scatter(xy[:, 0], xy[:, 1], s=size, linewidths=0, zorder=2, rasterized=True, **look)


def legend_columns(n: int) -> int:
    """Return the columns of a legend of so many groups."""
    return 1 + (n - 1) // _MOST_ROWS


def _size(n: int) -> float:
    return float(np.clip(20_000 / max(1, n), 1.5, 14))
