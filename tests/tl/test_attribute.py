from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

import genemamba as gm
from genemamba.cells.read import Reading
from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.network.attribution import attribute_tokens
from genemamba.tl._embedding import Embedding, Running
from genemamba.tokens import FIRST_GENE


@pytest.fixture
def cells(pbmc: AnnData) -> AnnData:
    cells = pbmc[:40].copy()
    kinds = np.resize(["T/NK", "B"], 40).astype(object)
    kinds[36:] = None
    cells.obs["kind"] = kinds
    return cells


def test_each_gene_gets_what_its_token_got(cells, small_model):
    gm.tl.attribute(cells, groupby="kind", model=small_model, steps=4)
    layer = cells.layers["genemamba_attribution"]
    assert sparse.issparse(layer) and layer.format == "csr" and layer.dtype == np.float32
    source = Embedding(cells, small_model, Reading(), Running())
    X = source.vectors.astype(float)
    kind = cells.obs["kind"].to_numpy()
    away = X - X.mean(axis=0)
    for name in ("B", "T/NK"):
        away[kind == name] = away[kind == name].mean(axis=0)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    ranked = source.tokens.ranked
    found = attribute_tokens(small_model, ranked, away, steps=4)
    for i in range(40):
        tokens = ranked.tokens[ranked.indptr[i] : ranked.indptr[i + 1]]
        own = np.zeros(cells.n_vars)  # the genes of this model stand in the order of var_names
        own[tokens - FIRST_GENE] = found.values[ranked.indptr[i] : ranked.indptr[i + 1]]
        np.testing.assert_allclose(layer[i].toarray()[0], own, rtol=1e-4, atol=1e-7)
    means = cells.varm["genemamba_attribution"]
    assert list(cells.uns["genemamba"]["genemamba_attribution"]["groups"]) == ["B", "T/NK"]
    expected = layer.toarray()[kind == "B"].mean(axis=0)
    np.testing.assert_allclose(means[:, 0], expected, rtol=1e-4, atol=1e-8)
    assert not ((layer != 0).toarray() & (cells.X == 0)).any()


@pytest.mark.parametrize("target", ["embedding", "label"])
def test_other_cells_change_a_cell_only_through_the_mean(cells, small_model, target):
    options = {"model": small_model, "target": target, "method": "gradient_x_input"}
    if target == "label":
        options["label_key"] = "batch"
    whole = gm.tl.attribute(cells, copy=True, **options).layers["genemamba_attribution"]
    shuffled = cells[np.random.default_rng(0).permutation(40)].copy()
    gm.tl.attribute(shuffled, **options)
    back = shuffled[cells.obs_names].layers["genemamba_attribution"]
    np.testing.assert_allclose(back.toarray(), whole.toarray(), rtol=1e-2, atol=1e-5)
    assert not cells.layers and not cells.uns and not cells.varm


def test_labels_of_the_checkpoint(pbmc):
    cells = pbmc[pbmc.obs["bulk_labels"] == "CD19+ B"][:3].copy()
    gm.tl.attribute(cells, target="B cell", steps=4)
    assert "B cell" in cells.uns["genemamba"]["genemamba_attribution"]["labels"]
    best = cells.varm["genemamba_attribution"][:, 0].argsort()[::-1][:10]
    assert "CD79A" in cells.var_names[best]


def test_labels_of_ones_own(cells, small_model):
    cells = cells[:20].copy()
    options = {"label_key": "kind", "model": small_model, "steps": 2}
    gm.tl.attribute(cells, target="B", **options)
    assert list(cells.uns["genemamba"]["genemamba_attribution"]["labels"]) == ["B", "T/NK"]
    assert list(cells.uns["genemamba"]["genemamba_attribution"]["groups"]) == ["all"]
    b = cells.layers["genemamba_attribution"].toarray()
    gm.tl.attribute(cells, target="T/NK", **options)
    np.testing.assert_allclose(
        cells.layers["genemamba_attribution"].toarray(), -b, rtol=1e-3, atol=1e-6
    )


def test_integrated_gradients_say_what_they_miss(cells, small_model):
    cells, errors = cells[:8].copy(), []
    for steps in (1, 16):
        gm.tl.attribute(cells, method="integrated_gradients", steps=steps, model=small_model)
        errors.append(cells.uns["genemamba"]["genemamba_attribution"]["completeness_error"])
    assert errors[1] < 1e-3 < errors[0]


def test_raw_and_cells_without_genes(cells, small_model):
    cells.X[3] = 0
    cells.raw = cells.copy()
    plain = gm.tl.attribute(cells, model=small_model, steps=2, copy=True)
    assert plain.layers["genemamba_attribution"][3].nnz == 0
    few = cells[:, ::-2].copy()
    gm.tl.attribute(few, layer="raw", model=small_model, steps=2)
    expected = plain[:, few.var_names].layers["genemamba_attribution"].toarray()
    np.testing.assert_allclose(
        few.layers["genemamba_attribution"].toarray(), expected, rtol=1e-4, atol=1e-7
    )


def test_it_survives_subsetting_and_writing(cells, small_model, tmp_path: Path):
    gm.tl.attribute(cells, groupby="bulk_labels", model=small_model, steps=1)
    part = cells[5:20, 100:300].copy()
    part.write_h5ad(tmp_path / "a.h5ad")
    read = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(
        read.layers["genemamba_attribution"].toarray(),
        cells.layers["genemamba_attribution"][5:20, 100:300].toarray(),
    )
    np.testing.assert_array_equal(
        read.varm["genemamba_attribution"], cells.varm["genemamba_attribution"][100:300]
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "B cell"}, "without a classifier(.|\n)*label_key="),
        ({"target": "NK", "label_key": "kind"}, "target='NK'(.|\n)*'B', 'T/NK'"),
        ({"label_key": "kind"}, "has no effect"),
        ({"groupby": "donor"}, "groupby='donor'"),
        ({"method": "shap"}, "method='shap'"),
        ({"steps": 0}, "steps=0 is not"),
        ({"key_added": "mine"}, "layers\\['mine'\\]"),
        ({"layer": "scaled"}, "layer='scaled'"),
    ],
)
def test_refused_before_anything_is_written(cells, small_model: GeneMamba, options, said):
    cells.layers["mine"] = cells.X.copy()
    with pytest.raises(InputError, match=said):
        gm.tl.attribute(cells, model=small_model, **options)
    assert set(cells.layers) - {None} == {"mine"}  # X is among them from anndata 0.13 on
    assert not cells.uns and not cells.varm
