"""What the plots share: axes, colours for colour-blind readers, rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

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
SCORE_NAMES = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "knn_accuracy": "kNN accuracy",
    "asw_label": "ASW of types",
    "nmi": "NMI",
    "ari": "ARI",
    "avg_bio": "AvgBIO",
    "graph_connectivity": "connectivity",
    "asw_batch_within": "ASW of batches",
    "avg_batch": "AvgBATCH",
    "bras": "BRAS",
    "ilisi": "iLISI",
}


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the given axes, or those of a new figure of this size in inches."""
    return ax or plt.subplots(figsize=(width, height), layout="constrained")[1]


def panels(names: Sequence[str], width: float, height: float, **options: Any) -> dict[str, Axes]:
    """Return the axes of a new figure by name, side by side."""
    figure = plt.figure(figsize=(width, height), layout="constrained")
    drawn = figure.subplots(1, len(names), squeeze=False, **options)[0]
    return dict(zip(names, drawn, strict=True))


def looks(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return colour and marker of each group, grey for "unknown"; no two of 56 others are alike."""
    own = cycle((color, marker) for marker in MARKERS for color in HUES)
    return [(UNKNOWN_COLOR, MARKERS[0]) if name == UNKNOWN else next(own) for name in names]


def rows(ax: Axes, names: Sequence[str]) -> None:
    """Name one row after the other, from the top, without a frame."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def legend_right(ax: Axes) -> None:
    """Put the legend to the right of the axes."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def heat_map(
    ax: Axes, values: Any, x: Sequence[str], y: Sequence[str], label: str, **look: Any
) -> None:
    """Draw a matrix with the names of its columns and rows, and a colour bar."""
    image = ax.imshow(values, aspect="auto", **look)
    ax.figure.colorbar(image, ax=ax, label=label)
    ax.set_xticks(range(len(x)), x, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(y)), y)
    ax.tick_params(length=0)


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
