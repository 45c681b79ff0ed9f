"""True against predicted cell types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genemamba._keys import OBS_LABEL
from genemamba.metrics import balanced_accuracy, macro_f1
from genemamba.pl._style import axes, class_order, predictions

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

MOST_TEXT = 24  # classes beyond which numbers in the squares cannot be read


def confusion(
    adata: AnnData,
    label_key: str,
    *,
    pred_key: str = OBS_LABEL,
    normalize: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Show which cell types are taken for which.

    A row is a true cell type with its number of cells, a column a predicted one. Cells whose label
    was given to :func:`genemamba.tl.annotate`, not predicted by it, are left out.

    Parameters
    ----------
    adata
        Cells with true and predicted types.
    label_key
        Column of ``obs`` with the true cell type.
    pred_key
        Column of ``obs`` with the predicted one.
    normalize
        Show shares of the cells of a true type (recall on the diagonal), else numbers of cells.
    ax
        Axes to draw on, else those of a new figure.

    Returns
    -------
    The axes. Nothing is written.

    Raises
    ------
    InputError
        If a column is missing, holds NaN, or labels are numbers.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> ax = gm.pl.confusion(adata, "bulk_labels", pred_key="louvain")
    >>> ax.get_ylabel()
    'true cell type'
    """
    cells = predictions(adata, label_key, pred_key)
    rows = class_order(cells["truth"])
    columns = [c for c in class_order(cells["truth"], cells["guess"])
               if c in rows or (cells["guess"] == c).any()]  # fmt: skip
    table = pd.crosstab(cells["truth"].astype(str), cells["guess"].astype(str))
    table = table.reindex(index=rows, columns=columns, fill_value=0)
    sizes = table.sum(axis=1)
    values = table.div(sizes, axis=0) if normalize else table
    ax = axes(ax, 3.2 + 0.45 * len(columns), 2.2 + 0.38 * len(rows))
    image = ax.imshow(values, cmap="Blues", vmin=0, vmax=1 if normalize else None, aspect="auto")
    ax.figure.colorbar(image, ax=ax, label="share of the true type" if normalize else "cells")
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), [f"{name} ({sizes[name]:,})" for name in rows])
    ax.set(xlabel="predicted cell type", ylabel="true cell type", title=_title(cells))
    ax.tick_params(length=0)
    if len(columns) <= MOST_TEXT:
        _write(ax, values.to_numpy(float), "{:.2f}" if normalize else "{:.0f}")
    return ax


def _write(ax: Axes, values: np.ndarray, form: str) -> None:
    """Write what is not nearly zero into its square."""
    highest = values.max()
    for (row, col), value in np.ndenumerate(values):
        if float(form.format(value)) > 0:
            color = "white" if value > 0.55 * highest else "black"
            text = form.format(value).removeprefix("0")
            ax.text(col, row, text, ha="center", va="center", color=color, fontsize=8)


def _title(cells: pd.DataFrame) -> str:
    truth, guess = cells["truth"].astype(str), cells["guess"].astype(str)
    said = f"{len(cells):,} cells"
    if set(truth) & set(guess):
        said += f", macro-F1 {macro_f1(truth, guess):.2f}"
        said += f", balanced accuracy {balanced_accuracy(truth, guess):.2f}"
    return said
