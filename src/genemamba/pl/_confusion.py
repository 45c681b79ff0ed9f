"""Plot true against predicted cell types."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from genemamba._docs import documented
from genemamba._keys import OBS_LABEL
from genemamba.metrics import balanced_accuracy, macro_f1
from genemamba.pl._predictions import predictions
from genemamba.pl._style import axes, class_order, heat_map

MOST_TEXT = 24  # with more classes, numbers in the squares cannot be read


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

    A row is a true cell type with its number of cells, a column a predicted one. Cells whose label
    was given to :func:`genemamba.tl.annotate`, not predicted by it, are left out.

    Parameters
    ----------
    adata
        Cells with true and predicted types.
    {label_key}
    {pred_key}
    {mapping}
    normalize
        Show fractions of the cells of a true type (recall on the diagonal), otherwise numbers of
        cells.
    {plotted}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.tl.annotate(adata, layer="raw", unknown=False)
    >>> blood = {"CD19+ B": "mature B cell", "CD56+ NK": "natural killer cell"}
    >>> gm.pl.confusion(adata, "bulk_labels", mapping=blood).get_ylabel()
    'true cell type'
    """
    cells = predictions(adata, label_key, pred_key, mapping)
    truth, guess = cells["truth"].astype(str), cells["guess"].astype(str)
    rows = class_order(cells["truth"])
    columns = class_order(cells["truth"], cells["guess"])
    table = pd.crosstab(truth, guess).reindex(index=rows, columns=columns, fill_value=0)
    sizes = table.sum(axis=1)
    values = table.div(sizes, axis=0) if normalize else table
    ax = axes(ax, 3.2 + 0.45 * len(columns), 2.2 + 0.38 * len(rows))
    label, highest = ("fraction of the true type", 1) if normalize else ("cells", None)
    names = [f"{name} ({sizes[name]:,})" for name in rows]
    heat_map(ax, values, columns, names, label, cmap="Blues", vmin=0, vmax=highest)
    title = f"{len(cells):,} cells, macro-F1 {macro_f1(truth, guess):.2f}"
    title += f", balanced accuracy {balanced_accuracy(truth, guess):.2f}"
    ax.set(xlabel="predicted cell type", ylabel="true cell type", title=title)
    if len(columns) <= MOST_TEXT:
        _write(ax, values.to_numpy(float), "{:.2f}" if normalize else "{:.0f}")
    return ax


def _write(ax: Axes, values: np.ndarray, form: str) -> None:
    """Write values into their squares, unless they round to zero."""
    for (row, col), value in np.ndenumerate(values):
        text = form.format(value)
        if float(text) > 0:
            color = "white" if value > 0.55 * values.max() else "black"
            text = text.removeprefix("0")
            ax.text(col, row, text, ha="center", va="center", color=color, fontsize=8)
