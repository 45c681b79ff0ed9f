from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import InputError


@pytest.fixture(params=["array", "table of an earlier version"])
def attributed(request) -> AnnData:
    adata = AnnData(np.zeros((3, 6), dtype=np.float32))
    adata.var_names = list("abcdef")
    means = {"T": [5, 1, 2, 0, 0, -4.0], "B": [0, 0, 1, 4, 3, 0.0]}
    table = pd.DataFrame(means, index=adata.var_names)
    adata.obs["kind"] = ["T", "T", "B"]
    record = {"params": {"target": "label", "method": "gradient_x_input", "groupby": "kind"}}
    if request.param == "array":
        adata.varm["genemamba_attribution"] = table.to_numpy()
        record["groups"] = np.array(["T", "B"])
    else:
        adata.varm["genemamba_attribution"] = table
    adata.uns["genemamba"] = {"genemamba_attribution": record}
    return adata


def test_highest_genes_of_each_group(attributed, words):
    before = repr(attributed)
    ax = gm.pl.attribution(attributed, n_genes=2)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "c", "d", "e"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["T (2)", "B (1)"]
    assert ax.get_ylabel() == "group (cells)"
    expected = [[1, 0.4, 0, 0], [0, 0.25, 1, 0.75]]
    np.testing.assert_allclose(ax.images[0].get_array(), expected)
    assert "Genes that speak for the label of each cell" in words(ax)
    assert "red: for the group; blue: against it" in words(ax)
    drawn = ax.figure.canvas.get_renderer()
    names = ax.get_xticklabels()
    assert all(n.get_window_extent(drawn).y1 <= ax.bbox.y0 for n in names)  # under the map
    assert repr(attributed) == before


def test_bars_of_one_group(attributed, words):
    _, given = plt.subplots()
    ax = gm.pl.attribution(attributed, groups="B", n_genes=3, ax=given)
    assert ax is given
    assert [bar.get_width() for bar in ax.patches] == [4, 3, 1]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["d", "e", "c"]
    assert words(ax).startswith("B (1): genes that speak for")
    assert ax.get_xlabel() == "mean contribution of the gene (units of the logit)"


@pytest.mark.parametrize(
    ("target", "said"),
    [("embedding", "distinguish a group's cells from the average cell"), ("T", "the label 'T'")],
)
def test_says_what_the_genes_did(attributed, target, said, words):
    attributed.uns["genemamba"]["genemamba_attribution"]["params"]["target"] = target
    assert said in words(gm.pl.attribution(attributed))


def test_bad_input(attributed):
    with pytest.raises(InputError, match="groups: 'NK'"):
        gm.pl.attribution(attributed, groups=["T", "NK"])
    del attributed.varm["genemamba_attribution"]
    with pytest.raises(InputError, match=r"gm\.tl\.attribute\(adata\)"):
        gm.pl.attribution(attributed)
