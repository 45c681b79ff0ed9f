"""How much of each cell the model can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from genemamba.errors import InputError
from genemamba.pl._style import axes, look
from genemamba.pp import check

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from genemamba.models._load import ModelLike


def gene_coverage(
    adata: AnnData,
    *,
    model: ModelLike = "genemamba-mini",
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show how much of each cell is in genes that the model does not know.

    Two histograms over cells: the share of a cell's expressed genes that is lost, and the share of
    its counts, which is what the ranking loses. Dotted lines are means. The numbers are those of
    :func:`genemamba.pp.check`.

    Parameters
    ----------
    adata
        Cells × genes.
    model
        Checkpoint that gives the genes: a name, a folder or a loaded model.
    layer
        Layer to look at instead of ``X``; ``"raw"`` is ``adata.raw``.
    gene_ids
        Column of ``adata.var``, or one name per gene, to use instead of ``adata.var_names``.
    ax
        Axes to draw on, else those of a new figure.

    Returns
    -------
    The axes. Nothing is written.

    Raises
    ------
    InputError
        If the cells cannot be read.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> ax = gm.pl.gene_coverage(sc.datasets.pbmc68k_reduced(), layer="raw")
    """
    report = check(adata, model=model, layer=layer, gene_ids=gene_ids)
    if not report.ok:
        raise InputError(report.problem, report.fix)
    ax = axes(ax, 5, 3.2)
    columns = {"genes_lost": "its genes", "counts_lost": "its counts"}
    most = max(0.01, float(report.cells[list(columns)].max().max()))
    bins = np.linspace(0, most, 41).tolist()
    for i, (column, label) in enumerate(columns.items()):
        color, lost = look(i)["color"], report.cells[column]
        ax.hist(lost, bins=bins, color=color, alpha=0.6, label=label)
        ax.axvline(lost.mean(), color=color, linestyle=":")
    ax.set_title(f"{report.n_known:,} of {len(report.genes):,} genes known", fontsize="medium")
    ax.set_xlabel("share lost of a cell")
    ax.set_ylabel("cells")
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
