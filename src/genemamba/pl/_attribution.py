"""Plot what ``gm.tl.attribute`` found, group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from genemamba._docs import documented
from genemamba._keys import ATTRIBUTION, recorded
from genemamba.errors import InputError
from genemamba.pl._style import COLORS, GREY, axes, heading, heat_map, rows


@documented
def attribution(
    adata: AnnData,
    *,
    groups: str | Sequence[str] | None = None,
    n_genes: int = 5,
    key: str = ATTRIBUTION,
    ax: Axes | None = None,
) -> Axes:
    """Plot the genes that contribute most to the embedding or the label of each group of cells.

    Plots the means that :func:`genemamba.tl.attribute` wrote to ``varm``: for several groups a heat
    map of the highest genes of each, scaled to the group's highest; for one group bars.

    Parameters
    ----------
    adata
        Cells that ``gm.tl.attribute`` was run on.
    groups
        Groups to show; by default all.
    n_genes
        Genes of each group.
    key
        Slot to read.
    {plotted}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()[:20].copy()
    >>> gm.tl.attribute(adata, target="label", groupby="bulk_labels", layer="raw")
    >>> gm.pl.attribution(adata, groups="CD19+ B").get_xlabel()
    'mean contribution of the gene (units of the logit)'
    """
    record = recorded(adata, key)
    if key not in adata.varm or not record:
        raise InputError(
            f"adata has no attributions under {key!r}", "make them first: gm.tl.attribute(adata)"
        )
    means = adata.varm[key]
    if not isinstance(means, pd.DataFrame):  # as an earlier version wrote it
        means = pd.DataFrame(means, adata.var_names, record["groups"])
    chosen = [groups] if isinstance(groups, str) else list(means if groups is None else groups)
    if missing := [g for g in chosen if g not in means]:
        raise InputError(
            f"groups: {missing[0]!r} has no attributions",
            f"use some of {', '.join(map(repr, means.columns))}",
        )
    names = [name + _cells(adata, record["params"].get("groupby"), name) for name in chosen]
    sense, unit = _sense(record["params"])
    if len(chosen) == 1:
        top = means[chosen[0]].nlargest(n_genes)
        return _bars(top, [f"{names[0]}: genes {sense}"], unit, ax)
    title = [f"Genes {sense}", "red: for the group; blue: against it; each row scaled by itself"]
    return _map(means[chosen], names, n_genes, title, ax)


def _sense(params: Mapping[str, Any]) -> tuple[str, str]:
    """Say what the genes did, and the unit of their numbers."""
    target = params["target"]
    if target == "embedding":
        return "that distinguish a group's cells from the average cell", "units of the embedding"
    named = "the label of each cell" if target == "label" else f"the label {target!r}"
    return f"that speak for {named}", "units of the logit"


def _cells(adata: AnnData, groupby: str | None, group: str) -> str:
    """Return the number of cells of a group in brackets, if they can be counted."""
    if not groupby or groupby not in adata.obs:
        return ""
    return f" ({(adata.obs[groupby].astype(str) == group).sum():,})"


def _bars(top: pd.Series, title: Sequence[str], unit: str, ax: Axes | None) -> Axes:
    ax = axes(ax, 5.5, 1.6 + 0.26 * len(top))
    ax.barh(range(len(top)), top, color=COLORS[0])
    rows(ax, top.index.astype(str).tolist())
    ax.set(xlabel=f"mean contribution of the gene ({unit})")
    heading(ax, *title)
    return ax


def _map(
    means: pd.DataFrame, names: Sequence[str], n_genes: int, title: Sequence[str], ax: Axes | None
) -> Axes:
    """Draw groups × genes, each gene under the first group that it is among the highest of."""
    genes = list(dict.fromkeys(g for name in means for g in means[name].nlargest(n_genes).index))
    shown = means.loc[genes].T
    highest = shown.max(axis=1)
    shown = shown.div(np.where(highest > 0, highest, 1), axis=0)
    ax = axes(ax, np.clip(3.0 + 0.2 * len(genes), 7, 24), 2.2 + 0.3 * len(shown))
    label = "mean contribution\n÷ that of the group's first gene"
    heat_map(ax, shown, genes, names, label, cmap="RdBu_r", vmin=-1, vmax=1)
    ax.set_xticks(range(len(genes)), genes, rotation=90, ha="center", va="top",
                  rotation_mode="default", fontsize=8)  # fmt: skip
    for edge in np.arange(1, len(shown)) - 0.5:
        ax.axhline(edge, color=GREY, lw=0.4)
    ax.set(xlabel=f"genes, the first {n_genes} of each group", ylabel="group (cells)")
    heading(ax, *title)
    return ax
