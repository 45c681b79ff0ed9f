"""Plot the table of ``gm.metrics.compare``."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from genemamba._docs import documented
from genemamba._keys import COMPARE, recorded
from genemamba.compare.scoreboard import CONTROL, IN_SAMPLE, SCORES
from genemamba.errors import InputError
from genemamba.pl._style import COLORS, GREY, SCORE_NAMES, axes, legend_right, rows

BAND = 0.76  # height of the marks of one score


@documented
def compare(adata: AnnData, *, ax: Axes | None = None) -> Axes:
    """Plot an embedding and its baselines, score by score.

    Plots the table that :func:`genemamba.metrics.compare` wrote to ``uns``: one band per score,
    one mark per row, bars of one standard deviation over folds. Hollow marks cannot win: random
    weights, and embeddings scored on cells whose labels they were tuned with.

    Parameters
    ----------
    adata
        Cells that ``gm.metrics.compare`` was run on.
    {plotted}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> table = gm.metrics.compare(
    ...     adata, "bulk_labels", use_rep="X_pca", layer="raw", baselines=["hvg"], verbose=False
    ... )
    >>> gm.pl.compare(adata).get_xlabel()
    'score'
    """
    record = recorded(adata, COMPARE)
    if "table" not in record:
        raise InputError(
            "adata has no table of scores", "make it first: gm.metrics.compare(adata, label_key)"
        )
    table: pd.DataFrame = record["table"]
    scores = [name for name in SCORES if name in table and table[name].notna().any()]
    ax = axes(ax, 9.5, 1.0 + len(scores) * max(0.5, 0.09 * len(table)))
    offsets = np.linspace(-BAND / 2, BAND / 2, len(table))
    for i, (title, row) in enumerate(table.iterrows()):
        color = COLORS[i % len(COLORS)]
        hollow = row["kind"] in (CONTROL, IN_SAMPLE)
        ax.errorbar(
            row[scores].to_numpy(float),
            np.arange(len(scores)) + offsets[i],
            xerr=[float(row.get(f"{name}_sd", np.nan)) for name in scores],
            fmt="oDs^vPX"[i % 7], color=color, mfc="white" if hollow else color,
            ms=6, lw=1.2, ls="none", label=f"{title}, {row['kind']}",
        )  # fmt: skip
    for edge in np.arange(1, len(scores)) - 0.5:
        ax.axhline(edge, color=GREY, lw=0.5, alpha=0.5)
    rows(ax, [SCORE_NAMES[name] for name in scores])
    title = f"{record['cells']:,} cells, {record['types']} types of {record['label_key']}"
    lowest = min(0, table[scores].min().min())
    ax.set(xlim=(lowest, 1), xlabel="score", title=f"{title}, {record['split']}")
    ax.grid(axis="x", lw=0.5, alpha=0.4)
    ax.set_axisbelow(True)
    legend_right(ax)
    return ax
