"""Plot the table of ``gm.metrics.compare``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from genemamba._docs import documented
from genemamba._keys import COMPARE, recorded
from genemamba.compare.scoreboard import CONTROL, IN_SAMPLE, SCORES, winners
from genemamba.errors import InputError
from genemamba.pl._style import (
    GREY,
    HUES,
    SCORE_NAMES,
    axes,
    faded,
    heading,
    ink,
    legend_right,
    rows,
)

BAND = 0.76  # height of the marks of one score


@documented
def compare(adata: AnnData | pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Plot an embedding and its baselines, score by score.

    One band per score, one mark per row of the table, bars of one standard deviation over folds. A
    ring marks the best row of a score, and those tied with it. Hollow marks cannot win: random
    weights, and embeddings scored on cells whose labels they were tuned with.

    Parameters
    ----------
    adata
        The table that :func:`genemamba.metrics.compare` returned, or the cells that it was run on,
        which hold it.
    {plotted}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> table = gm.metrics.compare(
    ...     adata, "bulk_labels", use_rep="X_pca", layer="raw", baselines=["hvg"], verbose=False
    ... )
    >>> gm.pl.compare(table).get_xlabel()
    'score (0 worst, 1 best)'
    """
    table, about = _read(adata)
    scores = [name for name in SCORES if name in table and table[name].notna().any()]
    ax = axes(ax, 9.5, 1.4 + len(scores) * max(0.55, 0.11 * len(table)))
    offsets = np.linspace(-BAND / 2, BAND / 2, len(table)) if len(table) > 1 else np.zeros(1)
    for i, (title, row) in enumerate(table.iterrows()):
        color = HUES[i % len(HUES)]
        hollow = row["kind"] in (CONTROL, IN_SAMPLE)
        ax.errorbar(
            row[scores].to_numpy(float),
            np.arange(len(scores)) + offsets[i],
            xerr=[float(row.get(f"{name}_sd", np.nan)) for name in scores],
            fmt="oDs^vPX"[i % 7], color=color, mfc=faded(ax, 0) if hollow else color,
            ms=6, lw=1.2, ls="none",
            label=f"{title} ({row['kind']}{', not ranked' if hollow else ''})",
        )  # fmt: skip
    _ring(ax, table, scores, offsets)
    for edge in np.arange(1, len(scores)) - 0.5:
        ax.axhline(edge, color=GREY, lw=0.5, alpha=0.5)
    rows(ax, [SCORE_NAMES[name] for name in scores])
    ax.tick_params(axis="y", labelsize="small")
    lowest = min(0, table[scores].min().min())
    ax.set(xlim=(lowest, 1.03), xlabel="score (0 worst, 1 best)")
    ax.grid(axis="x", lw=0.5, alpha=0.4)
    ax.set_axisbelow(True)
    legend_right(ax)
    title = "Which embedding keeps cell types apart"
    if about:
        mixing = " and mixes batches" if about["batch_key"] else ""
        cells = f"{about['cells']:,} cells, {about['types']} types of {about['label_key']}"
        heading(ax, title + mixing, f"{cells}; {about['split']}; bars: 1 SD over folds")
    else:
        heading(ax, title, "bars: 1 SD over folds")
    return ax


def _read(adata: AnnData | pd.DataFrame) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """Return the table and how it was computed, which a table read from a file does not know."""
    if isinstance(adata, AnnData):
        about = recorded(adata, COMPARE)
        table = about.get("table")
    else:
        table, about = adata, getattr(adata, "attrs", {})
    if not isinstance(table, pd.DataFrame) or "kind" not in table:
        raise InputError(
            "adata has no table of scores",
            "make it first: table = gm.metrics.compare(adata, label_key)",
        )
    return table, about if "label_key" in about else {}


def _ring(ax: Axes, table: pd.DataFrame, scores: Sequence[str], offsets: np.ndarray) -> None:
    """Mark the best row of each score, and those within the spread of their difference."""
    best = winners(table)
    at = [
        (table.loc[name, score], scores.index(score) + offsets[table.index.get_loc(name)])
        for score, row in best.iterrows()
        for name in [row["won"], *row["tied"]]
    ]
    if at:
        x, y = np.transpose(at)
        ax.scatter(x, y, s=110, facecolors="none", edgecolors=ink(), linewidths=1.1,
                   zorder=3, label="best of this score, or tied with it")  # fmt: skip
