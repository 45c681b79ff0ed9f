"""The table of ``gm.metrics.compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genemamba._keys import COMPARE
from genemamba.errors import InputError
from genemamba.metrics._from_anndata import provenance
from genemamba.metrics._scoreboard import CONTROL, IN_SAMPLE, SCORES
from genemamba.pl._style import GREY, axes, look

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes

NAMES = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "knn_accuracy": "kNN accuracy",
    "avg_bio": "AvgBIO",
    "avg_batch": "AvgBATCH",
    "bras": "BRAS",
    "ilisi": "iLISI",
}
BAND = 0.76  # height that the rows of one score take


def compare(adata: AnnData, *, ax: Axes | None = None) -> Axes:
    """Show an embedding beside its baselines, score by score.

    Draws the table that :func:`genemamba.metrics.compare` left in ``uns``: one band a score, one
    mark a row, bars of one standard deviation over folds. Hollow marks cannot win: random
    weights, and embeddings scored on cells whose labels they were tuned with.

    Parameters
    ----------
    adata
        Cells that ``gm.metrics.compare`` was run on.
    ax
        Axes to draw on, else those of a new figure.

    Returns
    -------
    The axes. Nothing is written.

    Raises
    ------
    InputError
        If there is no such table.

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
    record = provenance(adata, COMPARE)
    if "table" not in record:
        raise InputError(
            "adata has no table of scores", "make it first: gm.metrics.compare(adata, label_key)"
        )
    table: pd.DataFrame = record["table"]
    scores = [name for name in SCORES if name in table and table[name].notna().any()]
    ax = axes(ax, 9.5, 1.0 + len(scores) * max(0.5, 0.09 * len(table)))
    offsets = np.linspace(-BAND / 2, BAND / 2, len(table))
    for i, (title, row) in enumerate(table.iterrows()):
        style = look(i) | {"marker": "oDs^vPX"[i % 7]}
        hollow = row["kind"] in (CONTROL, IN_SAMPLE)
        ax.errorbar(
            row[scores].to_numpy(float),
            np.arange(len(scores)) + offsets[i],
            xerr=[float(row.get(f"{name}_sd", np.nan)) for name in scores],
            fmt=style["marker"], color=style["color"], mfc="white" if hollow else style["color"],
            ms=6, lw=1.2, ls="none", label=f"{title}, {row['kind']}",
        )  # fmt: skip
    for edge in np.arange(1, len(scores)) - 0.5:
        ax.axhline(edge, color=GREY, lw=0.5, alpha=0.5)
    ax.set_yticks(range(len(scores)), [NAMES[name] for name in scores])
    ax.set(
        ylim=(len(scores) - 0.5, -0.5),
        xlim=(min(0, table[scores].min().min()), 1),
        xlabel="score",
        title=_title(record),
    )
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", lw=0.5, alpha=0.4)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return ax


def _title(record: dict[str, object]) -> str:
    return (
        f"{record['cells']:,} cells, {record['types']} types of {record['label_key']}, "
        f"{record['split']}"
    )
