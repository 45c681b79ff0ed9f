from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

import genemamba as gm
from genemamba.errors import InputError
from genemamba.tokens import digests

KEY = "genemamba_median"


def exact(counts: np.ndarray) -> np.ndarray:
    x = counts / counts.sum(axis=1, keepdims=True) * 1e4
    return np.array([np.median(g[g > 0]) if g.any() else np.nan for g in x.T])


def medians_of(adata: AnnData, **options: object) -> np.ndarray:
    gm.pp.gene_medians(adata, **options)
    return adata.var[KEY].to_numpy()


@pytest.fixture
def pbmc(pbmc: AnnData) -> AnnData:
    pbmc.X[:, 7] = 0  # a gene that no cell expresses
    return pbmc


@pytest.mark.parametrize(
    "store",
    [np.asarray, np.float32, sparse.csr_matrix, sparse.csc_array, lambda x: np.uint16(x)],
)
def test_they_are_the_medians_over_cells_that_express_the_gene(
    pbmc: AnnData, store: object
) -> None:
    expected = exact(pbmc.X)
    pbmc.X = store(pbmc.X)
    np.testing.assert_allclose(medians_of(pbmc), expected, rtol=1e-6)
    entry = pbmc.uns["genemamba"][KEY]
    assert (entry["values"], entry["n_cells"], entry["input"]) == ("counts", 700, "adata.X")


def test_zeros_that_are_stored_do_not_count(pbmc: AnnData) -> None:
    expected = exact(pbmc.X)
    x = sparse.csr_matrix(pbmc.X + 1)
    x.data -= 1
    pbmc.X = x
    np.testing.assert_allclose(medians_of(pbmc), expected, rtol=1e-6)


def test_normalised_and_logged_values_give_the_same(pbmc: AnnData) -> None:
    expected = exact(pbmc.X)
    pbmc.X = pbmc.X.astype(np.float64)
    sc.pp.normalize_total(pbmc, target_sum=1e3)
    sc.pp.log1p(pbmc)
    np.testing.assert_allclose(medians_of(pbmc), expected, rtol=1e-5)


def test_many_values_are_near_the_median(pbmc: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_KEPT", 10_000)
    np.testing.assert_allclose(medians_of(pbmc), exact(pbmc.X), rtol=4e-3)


def test_a_layer_and_raw(pbmc: AnnData) -> None:
    expected = exact(pbmc.X)
    pbmc.raw = pbmc
    pbmc.layers["counts"] = pbmc.X.copy()
    pbmc = pbmc[:, ::-2].copy()
    pbmc.X = pbmc.X - 5
    np.testing.assert_allclose(medians_of(pbmc, layer="raw"), expected[::-2], rtol=1e-6)
    np.testing.assert_allclose(medians_of(pbmc, layer="counts"), exact(pbmc.layers["counts"]))
    pbmc.var_names = ["none there", *pbmc.var_names[1:]]
    assert np.isnan(medians_of(pbmc, layer="raw")[0])


def test_a_copy_leaves_the_original_alone(pbmc: AnnData) -> None:
    before = pbmc.X.copy()
    returned = gm.pp.gene_medians(pbmc, key_added="mine", copy=True)
    assert "mine" in returned.var
    assert "mine" in returned.uns["genemamba"]
    assert "mine" not in pbmc.var
    assert not pbmc.uns
    np.testing.assert_array_equal(pbmc.X, before)


def test_bad_input_is_refused_and_nothing_written(pbmc: AnnData) -> None:
    pbmc.var["mine"] = 1
    with pytest.raises(InputError, match=r"adata\.var\['mine'\] exists"):
        gm.pp.gene_medians(pbmc, key_added="mine")
    pbmc.raw = pbmc
    pbmc.raw.var.index = ["CD4"] * pbmc.n_vars
    with pytest.raises(InputError, match="more than once"):
        gm.pp.gene_medians(pbmc, layer="raw")
    pbmc.X = pbmc.X - 1
    with pytest.raises(InputError, match="negative"):
        gm.pp.gene_medians(pbmc)
    assert list(pbmc.var) == ["mine"]
    assert not pbmc.uns
