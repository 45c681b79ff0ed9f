"""What the plots share: axes, titles that fit, colours for colour-blind readers, rows."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, is_color_like, to_hex, to_rgb
from matplotlib.transforms import ScaledTranslation

from genemamba._keys import colors_key
from genemamba.cells.colors import UNKNOWN_COLOR
from genemamba.cells.labels import UNKNOWN
from genemamba.errors import InputError

COLORS = (  # Petroff, arXiv:2107.02270: ten that stay apart with every kind of colour vision
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
MARKERS = "osD^vPX"
GREY = "#717581"
HUES = tuple(color for color in COLORS if color not in ("#94a4a2", GREY))
FEW = 10  # cells; of fewer, a mark says how many
LONGEST = 32  # characters of a name in a legend
SCORE_NAMES = {  # what it measures, and its name in the literature
    "macro_f1": "types predicted right\nmacro-F1",
    "balanced_accuracy": "types predicted right\nbalanced accuracy",
    "knn_accuracy": "nearest cells have the type\nkNN accuracy",
    "asw_label": "types are compact\nsilhouette (ASW)",
    "nmi": "clusters match types\nNMI",
    "ari": "clusters match types\nARI",
    "avg_bio": "types apart, mean of three\nAvgBIO",
    "graph_connectivity": "a type stays in one piece\nconnectivity",
    "asw_batch_within": "batches mixed in a type\nsilhouette (ASW)",
    "avg_batch": "batches mixed, mean of two\nAvgBATCH",
    "bras": "batches mixed in a type\nBRAS",
    "ilisi": "batches among neighbours\niLISI",
    "scgraph": "types as far apart as in a batch\nscGraph",
}


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the given axes, or those of a new figure of this size in inches."""
    return ax or plt.subplots(figsize=(width, height), layout="constrained")[1]


def panels(names: Sequence[str], width: float, height: float, **options: Any) -> dict[str, Axes]:
    """Return the axes of a new figure by name, side by side."""
    figure = plt.figure(figsize=(width, height), layout="constrained")
    drawn = figure.subplots(1, len(names), squeeze=False, **options)[0]
    return dict(zip(names, drawn, strict=True))


def inches(ax: Axes) -> np.ndarray:
    """Return width and height of the axes, once all that was drawn so far has its place."""
    figure: Any = ax.figure.figure  # the outermost: a subfigure has no layout of its own
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    return np.array(ax.get_window_extent().size) / ax.figure.dpi


def heading(ax: Axes, *lines: str) -> None:
    """Write a title over what is drawn, in lines as wide as there is room around its middle."""
    width = max(3.0, float(inches(ax)[0]), _around(ax))
    room = int(width * 72 / (0.52 * plt.rcParams["font.size"]))
    wrapped: list[str] = []
    for line in filter(None, lines):
        even = len(line) // (1 + len(line) // room) + 8  # no single word on a line
        wrapped += textwrap.wrap(line, min(room, even))
    ax.set_title("\n".join(wrapped), fontsize="medium")


def _around(ax: Axes) -> float:
    """Return the inches of the figure around the middle of axes that have it for themselves."""
    figure: Any = ax.figure.figure
    if any(other is not ax and other.get_label() != "<colorbar>" for other in figure.axes):
        return 0.0
    box = ax.get_window_extent()
    middle = (box.x0 + box.x1) / 2
    return float(2 * min(middle, figure.bbox.width - middle) / ax.figure.dpi - 0.2)


def text_inches(names: Sequence[str]) -> float:
    """Estimate the length of the longest name, in small letters."""
    return 0.068 * max(map(len, names), default=0)


def short(name: str) -> str:
    """Cut the middle out of a long name: ends differ as often as beginnings do."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[:half]}…{name[1 - half :]}"


def ink() -> str:
    """Return the colour of text, which is white on dark figures."""
    return str(plt.rcParams["text.color"])


def faded(ax: Axes, share: float, color: str = GREY) -> str:
    """Mix a colour into that of the axes' background."""
    front, back = np.array([to_rgb(color), to_rgb(ax.get_facecolor())])
    red, green, blue = (share * front + (1 - share) * back).tolist()
    return to_hex((red, green, blue))


def inks(ax: Axes) -> LinearSegmentedColormap:
    """Return a colour map from near the background to the colour of text."""
    return LinearSegmentedColormap.from_list("inks", [faded(ax, 0.12, ink()), ink()])


def looks(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return colour and marker of each group, grey for "unknown"; no two of 56 others are alike."""
    own = cycle((color, marker) for marker in MARKERS for color in HUES)
    return [(UNKNOWN_COLOR, MARKERS[0]) if name == UNKNOWN else next(own) for name in names]


def looks_of(adata: AnnData, key: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the looks of groups of ``obs[key]``, with scanpy's colours if ``uns`` has them."""
    colors, values = adata.uns.get(colors_key(key)), adata.obs[key]
    if colors is None or not isinstance(values.dtype, pd.CategoricalDtype):
        return looks(names)
    known = dict(zip(map(str, values.cat.categories), colors, strict=False))
    known[UNKNOWN] = UNKNOWN_COLOR
    if not all(name in known and is_color_like(known[name]) for name in names):
        return looks(names)
    pairs = zip(names, looks(names), strict=True)
    return [(to_hex(known[name]), marker) for name, (_, marker) in pairs]


def rows(ax: Axes, names: Sequence[str]) -> None:
    """Name one row after the other, from the top, without a frame."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    grey_unknown(ax)


def grey_unknown(ax: Axes) -> None:
    """Write "unknown", with or without a number of cells, in grey along both axes."""
    for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        if label.get_text().split(" (")[0] == UNKNOWN:
            label.set_color(GREY)


def legend_right(ax: Axes, **options: Any) -> None:
    """Put the legend to the right of the axes."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, alignment="left",
              **options)  # fmt: skip


def legend_below(ax: Axes, **options: Any) -> None:
    """Put the legend under the axes and their labels, which have to be there."""
    inches(ax)
    taken = ax.get_tightbbox()
    depth = (taken.y0 - ax.bbox.y0) / ax.figure.dpi if taken else 0.0
    below = ax.transAxes + ScaledTranslation(0, depth, ax.figure.dpi_scale_trans)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, frameon=False,
              fontsize="small", title_fontsize="small", alignment="left", **options)  # fmt: skip


def heat_map(
    ax: Axes, values: Any, x: Sequence[str], y: Sequence[str], label: str, **look: Any
) -> None:
    """Draw a matrix with the names of its columns and rows, and a colour bar."""
    image = ax.imshow(values, aspect="auto", **look)
    ax.figure.colorbar(image, ax=ax, label=label)
    slanted(ax, x)
    ax.set_yticks(range(len(y)), y, fontsize="small")
    ax.tick_params(length=0)
    grey_unknown(ax)


def slanted(ax: Axes, names: Sequence[str]) -> None:
    """Name the columns."""
    ax.set_xticks(
        range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize="small"
    )


def check_choice(argument: str, value: Any, *choices: str) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        known = ", ".join(map(repr, choices[:-1]))
        raise InputError(f"{argument}={value!r} is unknown", f"use {known} or {choices[-1]!r}")


def class_order(*columns: pd.Series) -> list[str]:
    """Return the classes in the order of their categories, "unknown" last."""
    seen: dict[str, None] = {}
    for values in columns:
        if isinstance(values.dtype, pd.CategoricalDtype):
            names = values.cat.remove_unused_categories().cat.categories
        else:
            names = sorted(map(str, values.unique()))
        seen |= dict.fromkeys(map(str, names))
    return sorted(seen, key=lambda name: name == UNKNOWN)
