"""Plot the similarity of related and unrelated genes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genemamba._docs import documented
from genemamba.errors import InputError
from genemamba.genes.pairs import Measure
from genemamba.genes.results import GenePairs
from genemamba.pl._style import (
    COLORS,
    GREY,
    HUES,
    axes,
    check_choice,
    faded,
    heading,
    ink,
    legend_below,
    legend_right,
    rows,
)

DISTANCES = {
    "euclidean": "Euclidean (0 to 1.41)",
    "kl": "Kullback–Leibler (bits)",
    "js": "Jensen–Shannon (0 to 1 bit)",
}
HEIGHT = 0.42  # of a histogram, in rows
SIDES = {0: (1, "#94a4a2", "unrelated"), 1: (-1, COLORS[0], "related")}
SCALES = {"cosine": "1: same direction, 0: unrelated", "pearson": "1: same profile, 0: unrelated"}


@documented
def gene_pairs(
    result: GenePairs,
    *,
    kind: Literal["distribution", "distance"] = "distribution",
    measure: Measure = "cosine",
    ax: Axes | None = None,
) -> Axes:
    """Plot how related and unrelated genes differ in similarity, for each embedding.

    ``"distribution"``: a row for each embedding, similarities of related pairs above the line and
    of unrelated ones below, with medians and quartiles; on the left AUROC, its interval, and AUROC
    against pairs recombined from the same genes; in the title, AUROC of the control ``hubs``.
    ``"distance"``: Euclidean, Kullback–Leibler and Jensen–Shannon distance of the two
    distributions, hollow with shuffled labels. Random vectors are shown as well.

    Parameters
    ----------
    result
        What :func:`genemamba.tl.gene_similarity` returned.
    kind
        ``"distribution"`` or ``"distance"``.
    measure
        ``"cosine"`` or ``"pearson"``.
    {plotted}

    Examples
    --------
    >>> import genemamba as gm
    >>> pairs = [("CD3D", "CD3E", 1), ("MS4A1", "CD79A", 1)]
    >>> pairs += [("CD3D", "LYZ", 0), ("MS4A1", "NKG7", 0)]
    >>> found = gm.tl.gene_similarity(pairs, gm.tl.gene_embedding(), n_boot=20)
    >>> gm.pl.gene_pairs(found).get_xlabel()
    'cosine similarity of two genes (1: same direction, 0: unrelated)'
    """
    if not isinstance(result, GenePairs):
        raise InputError(
            f"result is a {type(result).__name__}",
            "make it first: gm.tl.gene_similarity(pairs, embeddings)",
        )
    check_choice("measure", measure, "cosine", "pearson")
    check_choice("kind", kind, "distribution", "distance")
    table = result.table.xs(measure, level="measure")
    if kind == "distribution":
        ax = axes(ax, 8.5, 2.2 + 0.75 * len(table))
        _distributions(ax, result, table, measure)
    else:
        ax = axes(ax, 7.5, 1.9 + 0.4 * len(table))
        _distances(ax, table)
    return ax


def _distributions(ax: Axes, result: GenePairs, table: pd.DataFrame, measure: Measure) -> None:
    related = result.scores["label"].to_numpy()
    names = []
    for i, (name, row) in enumerate(table.iterrows()):
        values = result.scores[(name, measure)].to_numpy()
        for label, (side, color, _) in SIDES.items():
            _ridge(ax, i, side, values[related == label], color)
        area = f"AUROC {row['auroc']:.2f} ({row['auroc_low']:.2f}–{row['auroc_high']:.2f})"
        names.append(f"{name}\n{area}\nsame genes {row['auroc_matched']:.2f}")
    for label, (_, color, text) in reversed(SIDES.items()):
        n = int(table["positive" if label else "negative"].iloc[0])
        ax.fill_between([], [], color=color, label=f"{n:,} {text} pairs")
    ax.plot([], [], color=ink(), lw=2, label="median, quartiles")
    rows(ax, names)
    ax.tick_params(axis="y", labelsize="small")
    noun = "cosine similarity" if measure == "cosine" else "Pearson correlation"
    ax.set_xlabel(f"{noun} of two genes ({SCALES[measure]})")
    legend_below(ax, ncols=3)
    hubs = result.table.loc[("hubs", "degree"), "auroc"]
    heading(
        ax, "Are related genes more similar than unrelated ones?",
        "AUROC: how often a related pair is the more similar one (1: always, 0.5: by chance)",
        "same genes: AUROC against the same genes in other pairs; "
        f"number of pairs alone: {hubs:.2f}",
    )  # fmt: skip


def _ridge(ax: Axes, at: int, side: int, values: np.ndarray, color: str) -> None:
    """Draw a histogram above (-1) or below the line of a row, its median and its quartiles."""
    spread = np.ptp(np.quantile(values, [0.001, 0.999])) or 1.0
    bins = max(10, int(40 * np.ptp(values) / spread))
    height, edges = np.histogram(values, min(bins, 400))
    ax.stairs(
        at + side * HEIGHT * height / height.max(), edges, baseline=at, fill=True, color=color
    )
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75])
    ax.hlines(at + side * 0.05, lower, upper, color=ink(), lw=1.2)
    ax.vlines(median, at, at + side * 0.2, color=ink(), lw=2)


def _distances(ax: Axes, table: pd.DataFrame) -> None:
    for i, (name, text) in enumerate(DISTANCES.items()):
        at, color = np.arange(len(table)) + 0.2 * (i - 1), HUES[i]
        mark: dict[str, Any] = {"marker": "osD"[i], "color": color, "ls": "none", "ms": 6}
        ax.hlines(at, table[f"{name}_shuffled"], table[name], color=color, lw=1)
        ax.plot(table[f"{name}_shuffled"], at, mfc=faded(ax, 0), **mark)
        ax.plot(table[name], at, label=text, **mark)
    ax.plot([], [], "o", mfc="none", mec=GREY, label="hollow: labels shuffled")
    rows(ax, table.index)
    ax.set_xlabel("difference (0: none)")
    ax.set_xlim(left=0)
    ax.grid(axis="x", lw=0.5, alpha=0.4)
    legend_right(ax)
    heading(
        ax, "How much the similarities of related pairs differ from those of unrelated ones",
        "further right of its hollow mark: more than chance",
    )  # fmt: skip
