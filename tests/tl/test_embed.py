from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
import torch
from anndata import AnnData
from scipy import sparse

import genemamba as gm
from genemamba.errors import CheckpointError, GeneMambaWarning, InputError
from genemamba.network import GeneMamba

TOLERANCE = 1e-4  # in float32, on vectors of unit scale


def vectors(adata: AnnData, model: GeneMamba, **options: object) -> np.ndarray:
    gm.tl.embed(adata, model=model, precision="float32", **options)
    return adata.obsm["X_genemamba"]


def test_what_is_written(pbmc: AnnData, small_model: GeneMamba) -> None:
    assert gm.tl.embed(pbmc, model=small_model) is None
    assert list(pbmc.obsm) == ["X_genemamba"]
    assert list(pbmc.uns) == ["genemamba"]
    x = pbmc.obsm["X_genemamba"]
    assert x.shape == (700, 32)
    assert x.dtype == np.float32
    entry = pbmc.uns["genemamba"]["X_genemamba"]
    assert entry["version"] == gm.__version__
    assert entry["vocabulary_sha256"] == small_model.vocab.sha256
    assert entry["params"]["pooling"] == "mean"
    assert entry["genes_known"] == 765
    assert entry["counts_lost"] == 0
    assert entry["device"] in ("cpu", "cuda")


def test_alone_in_a_batch_in_another_order(pbmc: AnnData, small_model: GeneMamba) -> None:
    together = vectors(pbmc.copy(), small_model)
    order = np.random.default_rng(0).permutation(pbmc.n_obs)
    shuffled = vectors(pbmc[order].copy(), small_model, batch_size=7)
    assert np.abs(shuffled - together[order]).max() < TOLERANCE
    for cell in (0, 350, 699):
        alone = vectors(pbmc[[cell]].copy(), small_model)
        assert np.abs(alone - together[[cell]]).max() < TOLERANCE


def test_storage_and_gene_order_change_nothing(pbmc: AnnData, small_model: GeneMamba) -> None:
    expected = vectors(pbmc.copy(), small_model)
    for store in (sparse.csr_matrix, sparse.csc_matrix, lambda x: x.astype(np.float32)):
        stored = pbmc.copy()
        stored.X = store(stored.X)
        assert np.array_equal(vectors(stored, small_model), expected)
    permuted = pbmc[:, ::-1].copy()
    assert np.array_equal(vectors(permuted, small_model), expected)


def test_twice_gives_the_same_bytes(pbmc: AnnData, small_model: GeneMamba) -> None:
    first = vectors(pbmc, small_model).copy()
    assert np.array_equal(vectors(pbmc, small_model), first)


def test_cls_pooling_and_key(pbmc: AnnData, small_model: GeneMamba) -> None:
    gm.tl.embed(pbmc, model=small_model)
    gm.tl.embed(pbmc, model=small_model, pooling="cls", key_added="X_cls")
    assert not np.allclose(pbmc.obsm["X_cls"], pbmc.obsm["X_genemamba"])
    assert set(pbmc.uns["genemamba"]) == {"X_genemamba", "X_cls"}


def test_copy_leaves_the_original_alone(pbmc: AnnData, small_model: GeneMamba) -> None:
    returned = gm.tl.embed(pbmc, model=small_model, copy=True)
    assert "X_genemamba" in returned.obsm
    assert not pbmc.obsm and not pbmc.uns


def test_a_view_does_not_reach_its_parent(pbmc: AnnData, small_model: GeneMamba) -> None:
    view = pbmc[:50]
    gm.tl.embed(view, model=small_model)
    assert "X_genemamba" in view.obsm
    assert not pbmc.obsm and not pbmc.uns


def test_it_survives_writing(pbmc: AnnData, small_model: GeneMamba, tmp_path: Path) -> None:
    pbmc.X[0] = 0
    with pytest.warns(GeneMambaWarning, match="1 cells express no gene"):
        gm.tl.embed(pbmc, model=small_model, layer=None)
    pbmc.write_h5ad(tmp_path / "a.h5ad")
    read = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(read.obsm["X_genemamba"], pbmc.obsm["X_genemamba"])
    entry = read.uns["genemamba"]["X_genemamba"]
    assert list(entry["cells_without_genes"]) == [pbmc.obs_names[0]]
    assert entry["params"]["max_tokens"] == 2048


def test_scanpy_goes_on_from_here(pbmc: AnnData, small_model: GeneMamba) -> None:
    gm.tl.embed(pbmc, model=small_model)
    sc.pp.neighbors(pbmc, use_rep="X_genemamba")
    sc.tl.leiden(pbmc, flavor="igraph", n_iterations=2, directed=False)
    assert pbmc.obs["leiden"].nunique() > 1


def test_a_cell_without_genes_is_nan_and_named(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.X[[3, 9]] = 0
    with pytest.warns(GeneMambaWarning, match=pbmc.obs_names[9]):
        gm.tl.embed(pbmc, model=small_model)
    nan = np.isnan(pbmc.obsm["X_genemamba"]).any(axis=1)
    assert np.flatnonzero(nan).tolist() == [3, 9]


def test_logged_values_are_said(pbmc: AnnData, small_model: GeneMamba) -> None:
    expected = vectors(pbmc.copy(), small_model)
    pbmc.X = pbmc.X.astype(np.float64)
    sc.pp.normalize_total(pbmc)
    sc.pp.log1p(pbmc)
    with pytest.warns(GeneMambaWarning, match="log was undone"):
        logged = vectors(pbmc, small_model)
    assert np.array_equal(logged, expected)


def test_counts_lost_are_said(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.var_names = [n if i < 100 else f"unheard{i}" for i, n in enumerate(pbmc.var_names)]
    with pytest.warns(GeneMambaWarning, match=r"\d\d% of a cell's counts"):
        gm.tl.embed(pbmc, model=small_model)
    assert pbmc.uns["genemamba"]["X_genemamba"]["genes_known"] == 100


def test_overwriting_what_is_ours(pbmc: AnnData, small_model: GeneMamba) -> None:
    gm.tl.embed(pbmc, model=small_model, key_added="mine")
    gm.tl.embed(pbmc, model=small_model, key_added="mine", pooling="cls")
    assert pbmc.uns["genemamba"]["mine"]["params"]["pooling"] == "cls"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pooling": "max"}, "pooling='max'"),
        ({"device": "gpu"}, "device='gpu'"),
        ({"precision": "float16"}, "precision='float16'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"key_added": "X_pca"}, "X_pca"),
        ({"layer": "scaled"}, "negative"),
    ],
)
def test_refused_before_anything_is_written(
    pbmc: AnnData, small_model: GeneMamba, options: dict, said: str
) -> None:
    pbmc.obsm["X_pca"] = np.zeros((pbmc.n_obs, 2))
    pbmc.layers["scaled"] = pbmc.X - 1.0
    with pytest.raises(InputError, match=said):
        gm.tl.embed(pbmc, model=small_model, **options)
    assert list(pbmc.obsm) == ["X_pca"]
    assert not pbmc.uns


def test_a_record_that_is_not_ours(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.uns["genemamba"] = "a note of the user"
    with pytest.raises(InputError, match=r"uns\['genemamba'\]"):
        gm.tl.embed(pbmc, model=small_model)
    assert pbmc.uns["genemamba"] == "a note of the user"


def test_no_trained_cls_token(pbmc: AnnData) -> None:
    with pytest.raises(InputError, match=r"no trained \[CLS\]"):
        gm.tl.embed(pbmc, pooling="cls")


def test_no_cell_has_a_known_gene(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.var_names = [n if i < 20 else f"unheard{i}" for i, n in enumerate(pbmc.var_names)]
    pbmc.X[:, :20] = 0
    with pytest.raises(InputError, match="no cell expresses"):
        gm.tl.embed(pbmc, model=small_model)
    assert not pbmc.obsm


def test_an_unknown_model(pbmc: AnnData) -> None:
    with pytest.raises(CheckpointError, match="genemamba-maxi"):
        gm.tl.embed(pbmc, model="genemamba-maxi")


def test_the_bundled_model_finds_cell_types(pbmc: AnnData) -> None:
    """Without training or labels, a cell's nearest neighbour mostly has its label."""
    gm.tl.embed(pbmc)
    x = pbmc.obsm["X_genemamba"].astype(np.float64)
    distance = ((x[:, None] - x[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    labels = pbmc.obs["bulk_labels"].to_numpy()
    assert (labels[distance.argmin(1)] == labels).mean() > 0.6


def test_invariance_on_deep_cells(shared_data: Path) -> None:
    """The bundled model on pbmc3k: alone, in another order and with other batches."""
    cells = ad.read_h5ad(shared_data / "bench" / "pbmc3k.h5ad")[:60].copy()
    model = gm.models.load("genemamba-mini")
    together = vectors(cells.copy(), model)
    shuffled = vectors(cells[::-1].copy(), model, batch_size=5)[::-1]
    assert np.abs(shuffled - together).max() < TOLERANCE
    one = vectors(cells[[17]].copy(), model)
    assert np.abs(one - together[[17]]).max() < TOLERANCE
    genes = np.random.default_rng(0).permutation(cells.n_vars)
    assert np.array_equal(vectors(cells[:, genes].copy(), model), together)


def test_two_at_once(pbmc: AnnData, small_model: GeneMamba) -> None:
    """In threads of one process, as a server would; torch's number of threads stays what it was."""
    alone = gm.tl.embed(pbmc, model=small_model, copy=True)
    n_threads = torch.get_num_threads()
    with ThreadPoolExecutor(3) as pool:
        copies = list(
            pool.map(lambda cells: gm.tl.embed(cells, model=small_model, copy=True), [pbmc] * 6)
        )
    assert torch.get_num_threads() == n_threads
    for other in copies:
        np.testing.assert_array_equal(other.obsm["X_genemamba"], alone.obsm["X_genemamba"])


def test_the_record_survives_concat(pbmc: AnnData, small_model: GeneMamba) -> None:
    gm.tl.embed(pbmc, model=small_model)
    record = pbmc.uns["genemamba"]["X_genemamba"]
    both = ad.concat([pbmc, pbmc], index_unique="-", uns_merge="same")
    entry = both.uns["genemamba"]["X_genemamba"]
    for name in ("model_sha256", "vocabulary_sha256", "version", "params", "values"):
        assert entry[name] == record[name], name
    assert both.obsm["X_genemamba"].shape == (1400, 32)
