"""What comes after genemamba: scanpy's own functions, files, concat, and tables of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData

import genemamba as gm
from genemamba.network import GeneMamba

KEY = "X_genemamba"


@pytest.fixture
def embedded(pbmc: AnnData, small_model: GeneMamba) -> AnnData:
    gm.tl.embed(pbmc, model=small_model)
    gm.pp.rank_tokenize(pbmc, model=small_model, max_tokens=50)
    gm.tl.gene_embedding(pbmc, model=small_model)
    return pbmc


def test_scanpy_goes_on_from_here(embedded: AnnData) -> None:
    sc.pp.neighbors(embedded, use_rep=KEY)
    sc.tl.umap(embedded)
    sc.tl.leiden(embedded, flavor="igraph", n_iterations=2, directed=False)
    embedded.layers["lognorm"] = np.log1p(embedded.X / embedded.X.sum(1, keepdims=True) * 1e4)
    sc.tl.rank_genes_groups(embedded, "leiden", layer="lognorm")
    assert embedded.obsm["X_umap"].shape == (700, 2)
    assert embedded.uns["neighbors"]["params"]["use_rep"] == KEY


@pytest.mark.slow  # UMAP compiles its transform
def test_ingest_puts_other_cells_beside_the_reference(embedded: AnnData) -> None:
    reference, query = embedded[:500].copy(), embedded[500:].copy()
    sc.pp.neighbors(reference, use_rep=KEY)
    sc.tl.umap(reference)
    truth = query.obs.pop("bulk_labels")
    sc.tl.ingest(query, reference, obs="bulk_labels", embedding_method="umap")
    assert query.obsm["X_umap"].shape == (200, 2)
    assert (query.obs["bulk_labels"].to_numpy() == truth.to_numpy()).mean() > 0.3  # ten classes


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_there_and_back(
    embedded: AnnData, small_model: GeneMamba, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / f"cells.{suffix}"
    getattr(embedded, f"write_{suffix}")(file)
    again = getattr(ad, f"read_{suffix}")(file)
    np.testing.assert_array_equal(again.obsm[KEY], embedded.obsm[KEY])
    np.testing.assert_array_equal(again.varm["X_genemamba_gene"], embedded.varm["X_genemamba_gene"])
    assert (again.obsm["genemamba_tokens"] != embedded.obsm["genemamba_tokens"]).nnz == 0
    assert again.uns["genemamba"].keys() == embedded.uns["genemamba"].keys()
    gm.tl.embed(again, model=small_model)  # its own slot may be written again


def test_concat_keeps_what_is_the_same(embedded: AnnData) -> None:
    parts = {"a": embedded[:300].copy(), "b": embedded[300:].copy()}
    joined = ad.concat(parts, label="part", uns_merge="same")
    np.testing.assert_array_equal(joined.obsm[KEY], embedded.obsm[KEY])
    assert joined.uns["genemamba"][KEY]["version"] == gm.__version__


def test_the_table_of_a_spatialdata(pbmc: AnnData, small_model: GeneMamba) -> None:
    """Such a table links its rows to shapes by two columns and an entry of uns."""
    link: dict[str, Any] = {"region": "spots", "region_key": "region", "instance_key": "spot"}
    pbmc.obs["region"] = "spots"
    pbmc.obs["spot"] = np.arange(pbmc.n_obs)
    pbmc.uns["spatialdata_attrs"] = dict(link)
    before = pbmc.obs.copy()
    gm.tl.embed(pbmc, model=small_model)
    assert pbmc.uns["spatialdata_attrs"] == link
    assert pbmc.obs.equals(before)


def test_a_subclass_stays_one(pbmc: AnnData, small_model: GeneMamba) -> None:
    class Table(AnnData):
        pass

    table = Table(pbmc)
    gm.tl.embed(table, model=small_model)
    assert type(table) is Table and KEY in table.obsm


def test_sessions_can_be_described() -> None:
    """session-info2 asks a module for its version."""
    assert isinstance(gm.__version__, str)
