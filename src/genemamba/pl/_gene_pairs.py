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
from genemamba.pl._style import COLORS, GREY, axes, check_choice, legend_right, rows

DISTANCES = {"euclidean": "Euclidean", "kl": "KL, bits", "js": "JS, bits"}
WIDTH = 0.42  # of half a violin
SIDES = {0: (-1, "#94a4a2", "unrelated"), 1: (1, COLORS[0], "related")}


@documented
def gene_pairs(
    result: GenePairs,
    *,
    kind: Literal["distribution", "distance"] = "distribution",
    measure: Measure = "cosine",
    ax: Axes | None = None,
) -> Axes:
    """Plot how related and unrelated genes differ in similarity, for each embedding.

    ``"distribution"``: similarities of unrelated pairs to the left, of related pairs to the right,
    with medians and quartiles; above, AUROC with its interval and AUROC against pairs recombined
    from the same genes; in the title, AUROC of the control ``hubs``. ``"distance"``: Euclidean,
    Kullback–Leibler and Jensen–Shannon distance of the two distributions, hollow with shuffled
    labels. Random vectors are shown as well.

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
    >>> gm.pl.gene_pairs(found).get_ylabel()
    'cosine similarity'
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
        ax = axes(ax, 1.6 + 1.5 * len(table), 4.4)
        _distributions(ax, result, table, measure)
    else:
        ax = axes(ax, 6.0, 1.6 + 0.35 * len(table))
        _distances(ax, table)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _distributions(ax: Axes, result: GenePairs, table: pd.DataFrame, measure: Measure) -> None:
    related = result.scores["label"].to_numpy()
    columns = {name: result.scores[(name, measure)].to_numpy() for name in table.index}
    low, high = np.min(list(columns.values())), np.max(list(columns.values()))
    room = 0.28 * (high - low)
    for i, (name, row) in enumerate(table.iterrows()):
        for label, (side, color, _) in SIDES.items():
            _half_violin(ax, i, side, columns[name][related == label], color)
        text = f"AUROC\n{row['auroc']:.2f} ({row['auroc_low']:.2f}–{row['auroc_high']:.2f})"
        text += f"\nsame genes {row['auroc_matched']:.2f}"
        ax.text(i, high + room, text, ha="center", va="top", fontsize=8)
    for label, (_, color, text) in SIDES.items():
        n = int(table["positive" if label else "negative"].iloc[0])
        ax.fill_between([], [], color=color, label=f"{text}, {n:,} pairs")
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.1), ncols=2, frameon=False)
    ax.set_xticks(range(len(table)), table.index)
    hubs = result.table.loc[("hubs", "degree"), "auroc"]
    ax.set_title(f"number of pairs of each gene alone: AUROC {hubs:.2f}", fontsize=9)
    noun = "cosine similarity" if measure == "cosine" else "Pearson correlation"
    ax.set(xlim=(-0.6, len(table) - 0.4), ylim=(low - room / 8, high + room), ylabel=noun)


def _half_violin(ax: Axes, at: int, side: int, values: np.ndarray, color: str) -> None:
    """Draw a histogram to one side of `at`, its median and its quartiles."""
    spread = np.ptp(np.quantile(values, [0.001, 0.999])) or 1.0
    bins = max(10, int(40 * np.ptp(values) / spread))
    height, edges = np.histogram(values, min(bins, 400))
    width = at + side * WIDTH * height / height.max()
    ax.stairs(width, edges, baseline=at, orientation="horizontal", fill=True, color=color)
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75])
    ax.vlines(at + side * 0.03, lower, upper, color="black", lw=1.2)
    ax.hlines(median, at, at + side * 0.12, color="black", lw=2)


def _distances(ax: Axes, table: pd.DataFrame) -> None:
    for i, (name, text) in enumerate(DISTANCES.items()):
        at, color = np.arange(len(table)) + 0.2 * (i - 1), COLORS[(0, 2, 1)[i]]
        mark: dict[str, Any] = {"marker": "osD"[i], "color": color, "ls": "none", "ms": 6}
        ax.hlines(at, table[f"{name}_shuffled"], table[name], color=color, lw=1)
        ax.plot(table[f"{name}_shuffled"], at, mfc="white", **mark)
        ax.plot(table[name], at, label=text, **mark)
    ax.plot([], [], "o", mfc="white", mec=GREY, label="labels shuffled")
    rows(ax, table.index)
    ax.set_xlabel("distance of related from unrelated pairs")
    ax.set_xlim(left=0)
    ax.grid(axis="x", lw=0.5, alpha=0.4)
    legend_right(ax)
