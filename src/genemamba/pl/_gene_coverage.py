"""Plot how much of each cell the model can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from genemamba._docs import documented
from genemamba.errors import InputError
from genemamba.pl._style import COLORS, axes, heading
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

    Histogram over cells of the fraction of a cell's expressed genes that is unused, and of its
    counts, which is what matters to the ranking. Dotted lines are means. The numbers are those of
    :func:`genemamba.pp.check`.

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
    ax = axes(ax, 5.5, 3.6)
    unused = [report.cells[column] for column in ("genes_lost", "counts_lost")]
    most = max(0.05, *(float(values.max()) for values in unused))
    means = [f"{values.mean():.1%}" for values in unused]
    labels = [f"of its genes (mean {means[0]})", f"of its counts (mean {means[1]})"]
    bins = np.linspace(0, most, 16).tolist()
    ax.hist(unused, bins=bins, color=COLORS[:2], label=labels)
    for values, color in zip(unused, COLORS, strict=False):
        ax.axvline(values.mean(), color=color, linestyle=":")
    ax.set(xlabel="part of a cell that the model cannot read (0%: reads all)")
    ax.set_ylabel("number of cells")
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    known = f"The model knows {report.n_known:,} of {len(report.genes):,} genes"
    heading(ax, known, f"{len(report.cells):,} cells; dotted: means")
    return ax
