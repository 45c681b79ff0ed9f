"""The unused fractions, plotted."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import InputError
from genemamba.network import GeneMamba


def test_every_cell_is_in_both_histograms(pbmc: AnnData, small_model: GeneMamba, words) -> None:
    pbmc.var_names = [f"odd{i}" if i % 3 == 0 else n for i, n in enumerate(pbmc.var_names)]
    ax = gm.pl.gene_coverage(pbmc, model=small_model)
    assert ax.get_xlabel() == "part of a cell that the model cannot read (0%: reads all)"
    assert ax.get_ylabel() == "number of cells"
    assert words(ax) == "The model knows 510 of 765 genes 700 cells; dotted: means"
    assert sum(patch.get_height() for patch in ax.patches) == 2 * 700
    odd = np.array([name.startswith("odd") for name in pbmc.var_names])
    lost = (pbmc.X[:, odd].sum(1) / pbmc.X.sum(1)).mean()
    assert ax.lines[1].get_xdata()[0] == pytest.approx(lost)
    legend = [t.get_text() for t in ax.get_legend().get_texts()]
    assert legend[0].startswith("of its genes (mean 3")
    assert legend[1] == f"of its counts (mean {lost:.1%})"


def test_cells_that_cannot_be_read(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.X = pbmc.X - 1
    with pytest.raises(InputError, match="negative"):
        gm.pl.gene_coverage(pbmc, model=small_model)
