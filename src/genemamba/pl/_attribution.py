"""What ``gm.tl.attribute`` found, group by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genemamba._keys import ATTRIBUTION
from genemamba.errors import InputError
from genemamba.metrics._from_anndata import provenance
from genemamba.pl._style import COLORS, GREY, axes

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


def attribution(
    adata: AnnData,
    *,
    groups: str | Sequence[str] | None = None,
    n_genes: int = 5,
    key: str = ATTRIBUTION,
    ax: Axes | None = None,
) -> Axes:
    """Show the genes that made the embedding or the label of each group of cells.

    Draws the means that :func:`genemamba.tl.attribute` left in ``varm``: of several groups a heat
    map of the highest genes of each, scaled to the group's highest; of one group bars.

    Parameters
    ----------
    adata
        Cells that ``gm.tl.attribute`` was run on.
    groups
        Groups to show; all, if not given.
    n_genes
        Genes of each group.
    key
        Slot to read.
    ax
        Axes to draw on, else those of a new figure.

    Returns
    -------
    The axes. Nothing is written.

    Raises
    ------
    InputError
        If there are no attributions or no such group.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()[:20].copy()
    >>> gm.tl.attribute(adata, target="label", groupby="bulk_labels", layer="raw")
    >>> gm.pl.attribution(adata, groups="CD19+ B").get_xlabel()
    'mean attribution'
    """
    if key not in adata.varm or not provenance(adata, key):
        raise InputError(
            f"adata has no attributions under {key!r}", "make them first: gm.tl.attribute(adata)"
        )
    means = adata.varm[key]
    if not isinstance(means, pd.DataFrame):  # it is one where an earlier version wrote it
        means = pd.DataFrame(means, adata.var_names, provenance(adata, key)["groups"])
    chosen = [groups] if isinstance(groups, str) else list(means if groups is None else groups)
    if missing := [g for g in chosen if g not in means]:
        raise InputError(
            f"groups: {missing[0]!r} has no attributions",
            f"use some of {', '.join(map(repr, means.columns))}",
        )
    params = provenance(adata, key)["params"]
    title = f"{params['target']}, {params['method'].replace('_', ' ').replace(' x ', ' × ')}"
    if len(chosen) == 1:
        return _bars(means[chosen[0]].nlargest(n_genes), f"{title}, {chosen[0]}", ax)
    return _map(means[chosen], n_genes, title, ax)


def _bars(top: pd.Series, title: str, ax: Axes | None) -> Axes:
    ax = axes(ax, 5.5, 1.4 + 0.26 * len(top))
    ax.barh(top.index.astype(str), top, color=COLORS[0])
    ax.invert_yaxis()
    ax.set(xlabel="mean attribution", title=title)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return ax


def _map(means: pd.DataFrame, n_genes: int, title: str, ax: Axes | None) -> Axes:
    """Draw groups × genes; a gene stands with the first group that it is among the highest of."""
    genes = list(dict.fromkeys(g for name in means for g in means[name].nlargest(n_genes).index))
    shown = means.loc[genes].T
    highest = shown.max(axis=1)
    shown = shown.div(np.where(highest > 0, highest, 1), axis=0)
    ax = axes(ax, 3.0 + 0.24 * len(genes), 2.2 + 0.3 * len(shown))
    image = ax.imshow(shown, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    ax.figure.colorbar(image, ax=ax, label="mean attribution / highest of the group")
    ax.set_xticks(range(len(genes)), genes, rotation=90, fontsize=8)
    ax.set_yticks(range(len(shown)), shown.index)
    for edge in np.arange(1, len(shown)) - 0.5:
        ax.axhline(edge, color=GREY, lw=0.4)
    ax.set(title=title, xlabel="genes", ylabel="cells")
    ax.tick_params(length=0)
    return ax
