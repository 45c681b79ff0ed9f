from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.network import GeneMamba
from genemamba.pl._style import GREY


@pytest.fixture
def cells(pbmc: AnnData) -> AnnData:
    cells = pbmc[:40].copy()
    cells.obs["kind"] = np.resize(["T", "B"], 40)
    cells.X[:, cells.var_names == "LYZ"] = 0
    return cells


def run(cells: AnnData, model: GeneMamba, **options: object) -> pd.DataFrame:
    few = {"groupby": "kind", "n_controls": 4, "control_cells": 3} | options
    with pytest.warns(GeneMambaWarning, match="LYZ"):
        gm.tl.perturb(cells, ["CD3D", "LYZ", ("CD3D", "CD79A")], model=model, **few)
    return cells.uns["genemamba"]["genemamba_perturb"]["table"]


def test_dots(cells, small_model, words):
    table = run(cells, small_model, target="B")
    before = repr(cells)
    ax = gm.pl.perturb(cells)
    dots, crosses = ax.collections[:2]
    moved = table[table["changed"] > 0]
    np.testing.assert_allclose(dots.get_array(), moved["score"])
    assert [tuple(xy) for xy in dots.get_offsets()] == [(0, 0), (1, 0), (0, 2), (1, 2)]
    assert [tuple(xy) for xy in crosses.get_offsets()] == [(0, 1), (1, 1)]
    order = np.argsort(moved["fdr_score"].to_numpy(), kind="stable")
    assert (np.diff(dots.get_sizes()[order]) <= 1e-9).all()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["CD3D", "LYZ", "CD3D+CD79A"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["B (20)", "T (20)"]
    assert words(ax) == (
        "Deleting a gene: how far 40 cells of 2 groups move red: towards B, blue: away from it"
    )
    few = [f"n={n}" for n in moved["changed"] if n < 10]
    assert few
    assert [t.get_text() for t in ax.texts] == few
    assert ax.get_xlabel() == "group (cells)\nn: cells that change, where few"
    legend = [t.get_text() for t in ax.get_legend().get_texts()]
    assert legend == ["changes no cell", "FDR 1", "FDR 0.1", "FDR 0.01"]
    assert dots.norm.vcenter == 0  # white is no effect
    assert repr(cells) == before
    _, given = plt.subplots()
    assert gm.pl.perturb(cells, ax=given) is given


def test_without_target_or_controls(cells, small_model):
    table = run(cells, small_model, groupby=None)
    shown = gm.pl.perturb(cells).collections[0].get_array()
    moved = table[table["changed"] > 0]
    np.testing.assert_allclose(shown, moved["cosine"] / moved["cosine_controls"])
    assert gm.pl.perturb(cells).collections[0].norm.vcenter == 1  # as other genes like it
    run(cells, small_model, groupby=None, n_controls=0)
    shown = gm.pl.perturb(cells).collections[0].get_array()
    np.testing.assert_allclose(shown, moved["cosine"], rtol=1e-3)
    with pytest.raises(InputError, match="no controls in 'all'"):
        gm.pl.perturb(cells, kind="controls")


def test_against_controls(cells, small_model, words):
    table = run(cells, small_model, target="B")
    controls = cells.uns["genemamba"]["genemamba_perturb"]["control_table"]
    ax = gm.pl.perturb(cells, kind="controls", group="T")
    drawn = [c.get_offsets() for c in ax.collections]
    own = controls[(controls["group"] == "T") & (controls["perturbation"] == "CD3D")]
    np.testing.assert_allclose(drawn[0][:, 0], own["score"])
    row = table[(table["group"] == "T") & (table["perturbation"] == "CD3D")].iloc[0]
    np.testing.assert_allclose(drawn[1], [[row["score_tested"], 0]])
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels[0] == f"CD3D\np = {row['p_score']:.2g} ({row['tested']} cells)"
    assert labels[1] == "LYZ\nchanges no cell"
    assert words(ax).startswith("Deleting a gene in T (20 cells), compared with other genes")
    with pytest.raises(InputError, match="several groups"):
        gm.pl.perturb(cells, kind="controls")
    with pytest.raises(InputError, match="group='NK'"):
        gm.pl.perturb(cells, kind="controls", group="NK")


@pytest.mark.filterwarnings("ignore::genemamba.errors.GeneMambaWarning")
def test_a_group_of_one_cell(cells, small_model):
    cells.obs["kind"] = ["one", *np.resize(["T", "unknown"], 39)]
    cells.X[0, cells.var_names == "CD3D"] = 9
    table = run(cells, small_model, groups=["one", "unknown"])
    ax = gm.pl.perturb(cells)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["one (1)", "unknown (19)"]
    assert ax.get_xticklabels()[1].get_color() == GREY
    assert "n=1" in [t.get_text() for t in ax.texts]
    table.loc[table["group"] == "one", "cosine"] = np.nan  # moved, but nowhere that can be named
    legend = [t.get_text() for t in gm.pl.perturb(cells).get_legend().get_texts()]
    assert "no value" in legend


def test_bad_input(cells):
    with pytest.raises(InputError, match=r"gm\.tl\.perturb\(adata, genes\)"):
        gm.pl.perturb(cells)
    with pytest.raises(InputError, match="kind='violin'"):
        gm.pl.perturb(cells, kind="violin")


def test_many_genes_together_are_named_by_two_of_them(cells, small_model):
    genes = ["CD3D", "CD79A", "NKG7", "CST3", "HLA-DRA", "GNLY", "S100A8"]
    gm.tl.perturb(cells, [tuple(genes), "CD3D"], model=small_model, n_controls=4)
    ax = gm.pl.perturb(cells)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["CD3D+CD79A and 5 more", "CD3D"]
    strips = gm.pl.perturb(cells, kind="controls")
    assert strips.get_yticklabels()[0].get_text().startswith("CD3D+CD79A and 5 more\np = ")
