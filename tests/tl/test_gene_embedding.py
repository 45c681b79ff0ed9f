from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.network import GeneMamba

KEY = "X_genemamba_gene"


def context(adata: AnnData, model: GeneMamba, **options: object) -> np.ndarray:
    gm.tl.gene_embedding(adata, model=model, kind="context", precision="float32", **options)
    return adata.varm[KEY]


def test_static_vectors_of_the_model(small_model: GeneMamba) -> None:
    table = gm.tl.gene_embedding(model=small_model)
    weight = small_model.embeddings.weight.detach().numpy()
    assert table.index.name == "gene"
    assert table.index.tolist() == small_model.vocab.symbol.tolist()
    np.testing.assert_array_equal(table.to_numpy(), weight[2 : 2 + len(table)])
    ids = gm.tl.gene_embedding(model=small_model, gene_ids="ensembl_id")
    assert ids.index.tolist() == small_model.vocab.ensembl_id.tolist()


def test_genes_without_a_name_of_their_own_go_by_id() -> None:
    from dataclasses import replace

    model = gm.models.load("genemamba-mini")
    symbol = model.vocab.symbol.copy()
    symbol[:3] = ["", "TWICE", "TWICE"]
    model.vocab = replace(model.vocab, symbol=symbol)
    table = gm.tl.gene_embedding(model=model)
    assert table.index[:3].tolist() == model.vocab.ensembl_id[:3].tolist()
    assert table.index.is_unique
    assert table.index[3] == symbol[3]


def test_static_vectors_of_the_genes_of_adata(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.var_names = ["unheard", *pbmc.var_names[1:]]
    assert gm.tl.gene_embedding(pbmc, model=small_model) is None
    x = pbmc.varm[KEY]
    assert x.dtype == np.float32
    assert np.isnan(x[0]).all()
    table = gm.tl.gene_embedding(model=small_model)
    np.testing.assert_array_equal(x[1:], table.loc[pbmc.var_names[1:]])
    entry = pbmc.uns["genemamba"][KEY]
    assert entry["genes_known"] == 764
    assert entry["params"] == {"kind": "static", "gene_ids": ""}
    assert list(pbmc.var) == []


def test_context_vectors_and_their_cells(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc = pbmc[:50].copy()
    pbmc.var_names = ["unheard", *pbmc.var_names[1:]]
    x = context(pbmc, small_model)
    n_cells = pbmc.var["X_genemamba_gene_n_cells"].to_numpy()
    expressed = (pbmc.X > 0).sum(axis=0)
    expressed[0] = 0
    assert np.array_equal(n_cells, expressed)
    assert np.array_equal(np.isnan(x).any(axis=1), expressed == 0)
    entry = pbmc.uns["genemamba"][KEY]
    assert entry["params"]["kind"] == "context"
    assert entry["model_sha256"] == "unsaved"
    often = pbmc.copy()
    strict = context(often, small_model, min_cells=10)
    assert np.array_equal(np.isnan(strict).any(axis=1), expressed < 10)
    np.testing.assert_array_equal(strict[expressed >= 10], x[expressed >= 10])


def test_order_and_batches_change_nothing(pbmc: AnnData, small_model: GeneMamba) -> None:
    cells = pbmc[:60].copy()
    expected = context(cells, small_model)
    order = np.random.default_rng(0).permutation(60)
    shuffled = context(cells[order].copy(), small_model, batch_size=7)
    np.testing.assert_allclose(shuffled, expected, atol=1e-4)
    genes = np.random.default_rng(0).permutation(cells.n_vars)
    np.testing.assert_array_equal(context(cells[:, genes].copy(), small_model), expected[genes])


def test_a_table_per_group(pbmc: AnnData, small_model: GeneMamba) -> None:
    cells = pbmc[:60].copy()
    tables = gm.tl.gene_embedding(
        cells, model=small_model, kind="context", groupby="bulk_labels", precision="float32"
    )
    assert not cells.varm and not cells.uns and list(cells.var) == []
    assert list(tables) == sorted(cells.obs["bulk_labels"].unique())
    for name, table in tables.items():
        part = cells[cells.obs["bulk_labels"] == name].copy()
        alone = pd.DataFrame(context(part, small_model), index=part.var_names).dropna()
        assert table.index.tolist() == alone.index.tolist()
        np.testing.assert_allclose(table, alone, atol=1e-4)


def test_raw_has_other_genes(pbmc: AnnData, small_model: GeneMamba) -> None:
    cells = pbmc[:40].copy()
    expected = pd.DataFrame(context(cells.copy(), small_model), index=cells.var_names)
    cells.raw = cells.copy()
    fewer = cells[:, 100:200:3].copy()
    np.testing.assert_array_equal(
        context(fewer, small_model, layer="raw"), expected.loc[fewer.var_names]
    )


def test_copy_and_key(pbmc: AnnData, small_model: GeneMamba) -> None:
    done = gm.tl.gene_embedding(
        pbmc[:20].copy(), model=small_model, kind="context", key_added="mine", copy=True
    )
    assert list(done.varm) == ["mine"]
    assert list(done.var) == ["mine_n_cells"]
    gm.tl.gene_embedding(done, model=small_model, key_added="mine")
    assert done.uns["genemamba"]["mine"]["params"]["kind"] == "static"
    assert list(done.var) == []  # no counts of cells beside vectors that are of none


def test_it_survives_writing(pbmc: AnnData, small_model: GeneMamba, tmp_path: Path) -> None:
    cells = pbmc[:20].copy()
    expected = context(cells, small_model)
    cells.write_h5ad(tmp_path / "a.h5ad")
    read = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(read.varm[KEY], expected)
    assert read.uns["genemamba"][KEY]["params"]["max_tokens"] == 2048


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "mean"}, "kind='mean'"),
        ({"groupby": "bulk_labels"}, "static vectors"),
        ({"kind": "context", "groupby": "type"}, "groupby='type' is not a column"),
        ({"kind": "context", "groupby": "holes"}, "missing"),
        ({"kind": "context", "min_cells": 0}, "min_cells=0"),
        ({"key_added": "PCs"}, "PCs"),
        ({"key_added": "my"}, "my_n_cells"),
        ({"gene_ids": "id"}, "gene_ids='id'"),
    ],
)
def test_refused_before_anything_is_written(
    pbmc: AnnData, small_model: GeneMamba, options: dict, said: str
) -> None:
    pbmc.varm["PCs"] = np.zeros((pbmc.n_vars, 2))
    pbmc.obs["holes"] = [None, *"a" * 699]
    pbmc.var["my_n_cells"] = 1
    with pytest.raises(InputError, match=said):
        gm.tl.gene_embedding(pbmc, model=small_model, **options)
    assert list(pbmc.varm) == ["PCs"]
    assert not pbmc.uns


def test_what_needs_cells_without_cells(small_model: GeneMamba) -> None:
    with pytest.raises(InputError, match="need cells"):
        gm.tl.gene_embedding(model=small_model, kind="context")
    with pytest.raises(InputError, match="gene_ids='name'"):
        gm.tl.gene_embedding(model=small_model, gene_ids="name")


def test_what_is_no_anndata(small_model: GeneMamba) -> None:
    with pytest.raises(InputError, match="adata is a DataFrame"):
        gm.tl.gene_embedding(pd.DataFrame(), model=small_model, kind="context", groupby="type")


def test_logged_values_are_said(pbmc: AnnData, small_model: GeneMamba) -> None:
    cells = pbmc[:20].copy()
    cells.X = np.log1p(cells.X / cells.X.sum(axis=1, keepdims=True) * 1e4)
    with pytest.warns(GeneMambaWarning, match="log was undone"):
        context(cells, small_model)


def test_no_cell_has_a_known_gene(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.var_names = [n if i < 20 else f"unheard{i}" for i, n in enumerate(pbmc.var_names)]
    pbmc.X[:, :20] = 0
    with pytest.raises(InputError, match="no cell expresses"):
        context(pbmc, small_model)
    assert not pbmc.varm
