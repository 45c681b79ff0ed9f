from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

import genemamba as gm
from genemamba.errors import InputError
from genemamba.network import GeneMamba


def tokens_of(adata: AnnData, model: GeneMamba, **options: object) -> np.ndarray:
    gm.pp.rank_tokenize(adata, model=model, **options)
    return adata.obsm["genemamba_tokens"].toarray()


def test_the_definition_cell_by_cell(pbmc: AnnData, small_model: GeneMamba) -> None:
    """Counts / total / median, argsort descending over expressed genes, ties by token."""
    found = tokens_of(pbmc, small_model, max_tokens=100)
    vocab = small_model.vocab
    for cell in range(0, pbmc.n_obs, 50):
        x = pbmc.X[cell].astype(float)
        value = x / x.sum() / vocab.median
        value = np.array([float(f"{v:.10g}") for v in value])
        order = sorted(np.flatnonzero(x > 0), key=lambda g: (-value[g], g))[:100]
        expected = np.zeros(100, int)
        expected[: len(order)] = np.array(order) + 2
        np.testing.assert_array_equal(found[cell], expected)


@pytest.mark.parametrize(
    "store",
    [
        sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, np.asarray,
        lambda x: x.astype(np.float32), lambda x: sparse.csr_matrix(x.astype(np.uint16)),
        lambda x: sparse.csc_matrix(x.astype(np.float64)), np.asfortranarray,
    ],
)  # fmt: skip
def test_storage_changes_nothing(pbmc: AnnData, small_model: GeneMamba, store: object) -> None:
    expected = tokens_of(pbmc, small_model)
    pbmc.X = store(pbmc.X)
    np.testing.assert_array_equal(tokens_of(pbmc, small_model), expected)


def test_gene_order_changes_nothing(pbmc: AnnData, small_model: GeneMamba) -> None:
    expected = tokens_of(pbmc, small_model)
    shuffled = pbmc[:, np.random.default_rng(0).permutation(pbmc.n_vars)].copy()
    np.testing.assert_array_equal(tokens_of(shuffled, small_model), expected)


def test_depth_normalisation_changes_nothing(pbmc: AnnData, small_model: GeneMamba) -> None:
    expected = tokens_of(pbmc, small_model)
    pbmc.X = pbmc.X.astype(np.float64)
    sc.pp.normalize_total(pbmc, target_sum=1e4)
    np.testing.assert_array_equal(tokens_of(pbmc, small_model), expected)
    sc.pp.log1p(pbmc)
    np.testing.assert_array_equal(tokens_of(pbmc, small_model), expected)
    assert pbmc.uns["genemamba"]["genemamba_tokens"]["values"] == "log1p"


def test_symbols_ids_versions_and_a_column(pbmc: AnnData, small_model: GeneMamba) -> None:
    expected = tokens_of(pbmc, small_model)
    ids = small_model.vocab.ensembl_id
    pbmc.var["versioned"] = [f"{i}.{n % 20}" for n, i in enumerate(ids)]
    np.testing.assert_array_equal(tokens_of(pbmc, small_model, gene_ids="versioned"), expected)
    np.testing.assert_array_equal(tokens_of(pbmc, small_model, gene_ids=list(ids)), expected)
    pbmc.var_names = ids
    np.testing.assert_array_equal(tokens_of(pbmc, small_model), expected)


def test_layers_and_raw(pbmc: AnnData, small_model: GeneMamba) -> None:
    expected = tokens_of(pbmc, small_model)
    pbmc.layers["counts"] = pbmc.X.copy()
    pbmc.raw = pbmc.copy()
    pbmc = pbmc[:, :300].copy()
    pbmc.X = np.ones(pbmc.shape) * -1
    np.testing.assert_array_equal(tokens_of(pbmc, small_model, layer="raw"), expected)
    fewer = tokens_of(pbmc, small_model, layer="counts")
    assert fewer.max() < 302


def test_a_view_and_a_copy(pbmc: AnnData, small_model: GeneMamba) -> None:
    expected = tokens_of(pbmc.copy(), small_model)
    returned = gm.pp.rank_tokenize(pbmc, model=small_model, copy=True)
    assert not pbmc.obsm and not pbmc.uns
    np.testing.assert_array_equal(returned.obsm["genemamba_tokens"].toarray(), expected)
    view = pbmc[100:200]
    np.testing.assert_array_equal(tokens_of(view, small_model), expected[100:200])
    assert not pbmc.obsm


def test_it_survives_writing_and_subsetting(
    pbmc: AnnData, small_model: GeneMamba, tmp_path: object
) -> None:
    expected = tokens_of(pbmc, small_model)
    pbmc.write_h5ad(tmp_path / "a.h5ad")
    read = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(read.obsm["genemamba_tokens"].toarray(), expected)
    entry = read.uns["genemamba"]["genemamba_tokens"]
    assert entry["vocabulary_sha256"] == small_model.vocab.sha256
    assert entry["genes_known"] == entry["genes"] == 765
    half = read[::2]
    np.testing.assert_array_equal(half.obsm["genemamba_tokens"].toarray(), expected[::2])


BAD = {
    "negative": (lambda a: a.X.__setitem__((3, 5), -1), "negative"),
    "nan": (lambda a: setattr(a, "X", np.where(a.X == 1, np.nan, a.X)), "NaN"),
    "infinite": (lambda a: setattr(a, "X", np.where(a.X == 1, np.inf, a.X)), "infinite"),
    "scaled": (lambda a: sc.pp.scale(a), "scaled"),
    "all zero": (lambda a: setattr(a, "X", np.zeros(a.shape)), "above zero"),
    "bool": (lambda a: setattr(a, "X", a.X > 0), "bool"),
    "one name": (lambda a: setattr(a, "var_names", ["CD3D"] * a.n_vars), "1 of 765 names"),
    "zebrafish": (lambda a: setattr(a, "var_names", [n.lower() for n in a.var_names]), "zebrafish"),
    "numbers": (lambda a: setattr(a, "var_names", [str(i) for i in range(a.n_vars)]), "numbers"),
    "taken": (lambda a: a.obsm.__setitem__("X_pca", np.zeros((a.n_obs, 2))), "X_pca"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_nothing_written(
    pbmc: AnnData, small_model: GeneMamba, case: str
) -> None:
    spoil, said = BAD[case]
    pbmc.X = pbmc.X.astype(np.float64)
    spoil(pbmc)
    before = pbmc.copy()
    key = {"key_added": "X_pca"} if case == "taken" else {}
    with pytest.raises(InputError, match=rf"(?s){said}.*Fix: \S"):
        gm.pp.rank_tokenize(pbmc, model=small_model, **key)
    np.testing.assert_array_equal(pbmc.X, before.X)
    assert list(pbmc.obsm) == list(before.obsm)
    assert "genemamba" not in pbmc.uns


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_an_empty_anndata(small_model: GeneMamba, shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="empty"):
        gm.pp.rank_tokenize(AnnData(np.zeros(shape)), model=small_model)


def test_the_message_names_where_counts_are(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.layers["counts"] = pbmc.X.copy()
    pbmc.X = pbmc.X.astype(np.float64)
    sc.pp.scale(pbmc)
    with pytest.raises(InputError, match=r"use layer='counts'"):
        gm.pp.rank_tokenize(pbmc, model=small_model)


def test_the_message_names_the_column_with_gene_names(
    pbmc: AnnData, small_model: GeneMamba
) -> None:
    pbmc.var["symbol"] = list(pbmc.var_names)
    pbmc.var_names = [f"row{i}" for i in range(pbmc.n_vars)]
    with pytest.raises(InputError, match=r"use gene_ids='symbol'"):
        gm.pp.rank_tokenize(pbmc, model=small_model)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer": "count"}, "layer='count'"),
        ({"gene_ids": "sym"}, "gene_ids='sym'"),
        ({"gene_ids": ["CD3D"]}, "1 names for 765"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_arguments_that_fit_nothing(
    pbmc: AnnData, small_model: GeneMamba, options: dict, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        gm.pp.rank_tokenize(pbmc, model=small_model, **options)


def test_something_that_is_no_anndata(small_model: GeneMamba) -> None:
    with pytest.raises(InputError, match="DataFrame, not an AnnData"):
        gm.pp.rank_tokenize(pd.DataFrame([[1]]), model=small_model)
