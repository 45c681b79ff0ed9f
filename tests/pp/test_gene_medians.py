from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

import genemamba as gm
from genemamba.errors import InputError
from genemamba.tokens import digests, tdigests
from genemamba.tokens.tdigests import TDigests

KEY = "genemamba_median"


def exact(counts: np.ndarray) -> np.ndarray:
    x = counts / counts.sum(axis=1, keepdims=True) * 1e4
    return np.array([np.median(g[g > 0]) if g.any() else np.nan for g in x.T])


def medians_of(adata: AnnData, **options: object) -> np.ndarray:
    gm.pp.gene_medians(adata, **options)
    return adata.var[options.get("key_added", KEY)].to_numpy()


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


def by_tdigest(adata: AnnData, **options: object) -> np.ndarray:
    pytest.importorskip("tdigest")
    return medians_of(adata, method="tdigest", **options)


@pytest.mark.parametrize("shape", [(0.4, 0.2), (1.5, 0.9), (0.05, 0.5)])
def test_tdigests_agree_within_half_a_percent(shape: tuple[float, float]) -> None:
    """Cells of like and of very unlike depth, genes that few and that all cells express."""
    spread, least = shape
    rng = np.random.default_rng(0)
    depth = np.exp(rng.normal(size=(2500, 1)) * spread)
    counts = rng.poisson(depth * [*np.geomspace(least, 50, 7), 3000])
    counts[:, -1] += 1  # no cell is empty
    adata = AnnData(counts.astype(np.int32))
    np.testing.assert_allclose(by_tdigest(adata), exact(counts + 0.0), rtol=5e-3)
    assert adata.uns["genemamba"][KEY]["params"]["method"] == "tdigest"


def test_tdigests_of_few_cells_are_exact(pbmc: AnnData) -> None:
    pbmc = pbmc[:50].copy()
    np.testing.assert_allclose(by_tdigest(pbmc), exact(pbmc.X), rtol=1e-6)
    x = sparse.csr_matrix(pbmc.X + 1)
    x.data -= 1  # zeros that are stored
    pbmc.X = x
    np.testing.assert_allclose(by_tdigest(pbmc, key_added="b"), exact(x.toarray()), rtol=1e-6)


def test_tdigests_of_parts_are_merged(pbmc: AnnData) -> None:
    pytest.importorskip("tdigest")
    rng = np.random.default_rng(0)
    many = rng.poisson(rng.uniform(0.3, 3, (3000, 1)) * [*np.geomspace(0.1, 9, 8), 2000])
    x, total = sparse.csr_matrix(many), many.sum(axis=1)
    parts = [TDigests(9) for _ in range(3)]
    for n, part in enumerate(parts):
        part.add(x[n::3], total[n::3])
    parts[0].merge(parts[1])
    parts[0].merge(parts[2])
    np.testing.assert_allclose(parts[0].medians(), exact(many), rtol=5e-3)


def test_without_the_package_it_says_how_to_get_it(
    pbmc: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tdigests, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the package tdigest.*\n.*genemamba\[tdigest\]"):
        gm.pp.gene_medians(pbmc, method="tdigest")
    with pytest.raises(InputError, match="method='median' is unknown"):
        gm.pp.gene_medians(pbmc, method="median")
    assert not pbmc.uns and KEY not in pbmc.var


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
