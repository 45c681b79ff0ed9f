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
    record = {"params": {"target": "label", "method": "gradient_x_input"}}
    if request.param == "array":
        adata.varm["genemamba_attribution"] = table.to_numpy()
        record["groups"] = np.array(["T", "B"])
    else:
        adata.varm["genemamba_attribution"] = table
    adata.uns["genemamba"] = {"genemamba_attribution": record}
    return adata


def test_highest_genes_of_each_group(attributed):
    before = repr(attributed)
    ax = gm.pl.attribution(attributed, n_genes=2)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "c", "d", "e"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["T", "B"]
    expected = [[1, 0.4, 0, 0], [0, 0.25, 1, 0.75]]
    np.testing.assert_allclose(ax.images[0].get_array(), expected)
    assert ax.get_title() == "label, gradient × input"
    assert repr(attributed) == before


def test_bars_of_one_group(attributed):
    _, given = plt.subplots()
    ax = gm.pl.attribution(attributed, groups="B", n_genes=3, ax=given)
    assert ax is given
    assert [bar.get_width() for bar in ax.patches] == [4, 3, 1]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["d", "e", "c"]


def test_bad_input(attributed):
    with pytest.raises(InputError, match="groups: 'NK'"):
        gm.pl.attribution(attributed, groups=["T", "NK"])
    del attributed.varm["genemamba_attribution"]
    with pytest.raises(InputError, match=r"gm\.tl\.attribute\(adata\)"):
        gm.pl.attribution(attributed)
