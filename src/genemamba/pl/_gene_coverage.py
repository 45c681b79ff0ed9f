"""Plot how much of each cell the model can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from genemamba._docs import documented
from genemamba.errors import InputError
from genemamba.pl._style import COLORS, axes
from genemamba.pp import check

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from genemamba.pp._check import ModelLike
    from genemamba.tokens.organisms import Organism


@documented
def gene_coverage(
    adata: AnnData,
    *,
    model: ModelLike = "genemamba-mini",
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    organism: Organism = "auto",
    ax: Axes | None = None,
) -> Axes:
    """Plot how much of each cell is in genes that the model does not know.

    Two histograms over cells: the fraction of a cell's expressed genes that is unused, and the
    fraction of its counts, which is what matters to the ranking. Dotted lines are means. The
    numbers are those of :func:`genemamba.pp.check`.

    Parameters
    ----------
    adata
        Cells × genes.
    model
        Checkpoint that gives the genes: a name, a folder or a loaded model.
    layer
        Layer to read instead of ``X``; ``"raw"`` reads ``adata.raw``.
    gene_ids
        Column of ``adata.var``, or one name per gene, to use instead of ``adata.var_names``.
    organism
        Organism of the genes: ``"auto"``, ``"human"``, ``"mouse"``, ``"macaque"`` or ``"pig"``.
    {plotted}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> ax = gm.pl.gene_coverage(sc.datasets.pbmc68k_reduced(), layer="raw")
    """
    report = check(adata, model=model, layer=layer, gene_ids=gene_ids, organism=organism)
    if not report.ok:
        raise InputError(report.problem, report.fix)
    ax = axes(ax, 5, 3.2)
    columns = {"genes_lost": "its genes", "counts_lost": "its counts"}
    most = max(0.01, float(report.cells[list(columns)].max().max()))
    bins = np.linspace(0, most, 41).tolist()
    for (column, label), color in zip(columns.items(), COLORS, strict=False):
        unused = report.cells[column]
        ax.hist(unused, bins=bins, color=color, alpha=0.6, label=label)
        ax.axvline(unused.mean(), color=color, linestyle=":")
    ax.set_title(f"{report.n_known:,} of {len(report.genes):,} genes known", fontsize="medium")
    ax.set(xlabel="unused fraction of a cell", ylabel="cells")
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
