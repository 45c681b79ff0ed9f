"""Plot true against predicted cell types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from genemamba._docs import documented
from genemamba._keys import OBS_LABEL
from genemamba.cells.labels import UNKNOWN
from genemamba.metrics import balanced_accuracy, macro_f1
from genemamba.pl._predictions import predictions
from genemamba.pl._style import GREY, axes, class_order, heading, heat_map, inches, text_inches

MOST_TEXT = 24  # with more classes, numbers in the squares cannot be read
LEAST_SIDE = 0.2  # inches of a square with a number


@documented
def confusion(
    adata: AnnData,
    label_key: str,
    *,
    pred_key: str = OBS_LABEL,
    mapping: Mapping[str, str] | None = None,
    normalize: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Plot which cell types are confused with which.

    A row is a true cell type with its number of cells, a column a predicted one; correct
    predictions are framed, "unknown" is grey. Types without a cell are left out. So are cells whose
    label was given to :func:`genemamba.tl.annotate`, not predicted by it.

    Parameters
    ----------
    adata
        Cells with true and predicted types.
    {label_key}
    {pred_key}
    {mapping}
    normalize
        Show percentages of the cells of a true type (recall on the diagonal), otherwise numbers
        of cells.
    {plotted}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.tl.annotate(adata, layer="raw", unknown=False)
    >>> blood = {"CD19+ B": "mature B cell", "CD56+ NK": "natural killer cell"}
    >>> gm.pl.confusion(adata, "bulk_labels", mapping=blood).get_ylabel()
    'true cell type (cells)'
    """
    cells = predictions(adata, label_key, pred_key, mapping)
    truth, guess = cells["truth"].astype(str), cells["guess"].astype(str)
    rows = class_order(cells["truth"])
    columns = class_order(cells["truth"], cells["guess"])
    table = pd.crosstab(truth, guess).reindex(index=rows, columns=columns, fill_value=0)
    sizes = table.sum(axis=1)
    values = table.div(sizes / 100, axis=0) if normalize else table
    side = 0.45 if len(columns) <= MOST_TEXT else 0.26
    names = [f"{name} ({sizes[name]:,})" for name in rows]
    ax = axes(
        ax, max(4.8, 2.0 + text_inches(names) + side * len(columns)),
        max(3.6, 1.6 + 0.7 * text_inches(columns) + 0.85 * side * len(rows)),
    )  # fmt: skip
    label = "% of the cells of a true type" if normalize else "cells"
    highest = 100 if normalize else table.to_numpy().max()
    heat_map(ax, values, columns, names, label, cmap="Blues", vmin=0, vmax=highest)
    own = np.array(columns) != UNKNOWN
    if not own.all():  # no answer is not a wrong answer
        greys = LinearSegmentedColormap.from_list("greys", ["white", GREY])
        others = np.ma.array(values, mask=np.tile(own, (len(rows), 1)))
        ax.imshow(others, aspect="auto", cmap=greys, vmin=0, vmax=highest)
    _frame(ax, rows, columns)
    ax.set(xlabel="predicted cell type", ylabel="true cell type (cells)")
    scores = f"macro-F1 {macro_f1(truth, guess):.2f}"
    scores += f", balanced accuracy {balanced_accuracy(truth, guess):.2f} (1: all right)"
    heading(
        ax, "What the cells of each true type were called (framed: correctly)",
        f"{len(cells):,} cells; {scores}",
    )  # fmt: skip
    if len(columns) <= MOST_TEXT and (inches(ax) / [len(columns), len(rows)]).min() > LEAST_SIDE:
        _write(ax, values.to_numpy(float), 0.55 * highest)
    return ax


def _frame(ax: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Frame the squares in which the prediction is the true type."""
    for row, name in enumerate(rows):
        corner = (columns.index(name) - 0.5, row - 0.5)
        ax.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=GREY, linewidth=1))


def _write(ax: Axes, values: np.ndarray, dark: float) -> None:
    """Write values into their squares, unless they round to zero."""
    for (row, col), value in np.ndenumerate(values):
        if round(value):
            color = "white" if value > dark else "black"
            ax.text(col, row, f"{value:.0f}", ha="center", va="center", color=color, fontsize=8)
