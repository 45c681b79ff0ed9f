"""Columns that are one gene, however they are named and wherever they are read from, are added."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import dask.array as da
import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

import genemamba as gm
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.network import GeneMamba
from genemamba.tokens import Sketch

N_SPLIT = 200
FORMS: dict[str, Callable[[str, str], str]] = {
    "id and symbol": lambda symbol, id_: id_,
    "id with version": lambda symbol, id_: f"{id_}.7",
    "copy on Y": lambda symbol, id_: f"{id_}.7_PAR_Y",
    "made unique by scanpy": lambda symbol, id_: f"{symbol}-1",
    "made unique by R": lambda symbol, id_: f"{symbol}.1",
    "joined": lambda symbol, id_: f"{id_}_{symbol}",
    "the same name": lambda symbol, id_: symbol,
}


def split(adata: AnnData, model: GeneMamba, form: Callable[[str, str], str]) -> AnnData:
    """Give some genes two columns, each with a part of the counts."""
    assert model.vocab is not None
    x = np.asarray(adata.X)
    part = np.random.default_rng(0).binomial(x[:, :N_SPLIT], 0.4)
    rest = np.hstack([x[:, :N_SPLIT] - part, x[:, N_SPLIT:]])
    two = AnnData(sparse.csr_matrix(np.hstack([part, rest])), obs=adata.obs)
    names = adata.var_names.tolist()
    ids = model.vocab.ensembl_id.tolist()
    two.var_names = [form(names[i], ids[i]) for i in range(N_SPLIT)] + names
    return two


def tokens(adata: Any, model: GeneMamba, **options: Any) -> np.ndarray:
    gm.pp.rank_tokenize(adata, model=model, **options)
    return adata.obsm["genemamba_tokens"].toarray()


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize("form", FORMS)
def test_however_they_are_named(pbmc: AnnData, small_model: GeneMamba, form: str) -> None:
    two = split(pbmc, small_model, FORMS[form])
    with pytest.warns(GeneMambaWarning, match="200 of 965 columns .* one gene are added"):
        gm.tl.embed(two, model=small_model)
    gm.tl.embed(pbmc, model=small_model)
    np.testing.assert_allclose(two.obsm["X_genemamba"], pbmc.obsm["X_genemamba"], atol=1e-6)
    record = two.uns["genemamba"]["X_genemamba"]
    assert record["gene_status"]["duplicate"] == N_SPLIT
    assert record["genes_known"] == 765
    report = gm.pp.check(two, model=small_model)
    assert any("counts of one gene are added" in note for note in report.notes)
    assert report.n_known == 765
    assert report.cells["counts_lost"].max() == pytest.approx(0)


def of_dask(adata: AnnData, _: Path) -> AnnData:
    adata.X = da.from_array(adata.X.toarray(), chunks=(150, 300))
    return adata


def in_file(how: str) -> Callable[[AnnData, Path], AnnData]:
    def make(adata: AnnData, folder: Path) -> AnnData:
        if how == "by columns":
            adata.X = sparse.csc_matrix(adata.X)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Writing zarr v2")
            if how == "lazy":
                adata.write_zarr(folder / "cells.zarr")
                return ad.experimental.read_lazy(folder / "cells.zarr")
        adata.write_h5ad(folder / "cells.h5ad")
        return ad.read_h5ad(folder / "cells.h5ad", backed="r")

    return make


READERS = {
    "dense": lambda adata, _: AnnData(adata.X.toarray(), obs=adata.obs, var=adata.var),
    "backed": in_file("by rows"),
    "backed by columns": in_file("by columns"),
    "lazy": in_file("lazy"),
    "dask": of_dask,
}


@pytest.mark.filterwarnings("ignore:memory grows")
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("logged", [False, True])
def test_wherever_they_are_read_from(
    pbmc: AnnData, small_model: GeneMamba, reader: str, logged: bool, tmp_path: Path
) -> None:
    expected = tokens(pbmc.copy(), small_model)
    two = split(pbmc, small_model, FORMS["id and symbol"])
    if logged:  # the sum of logs is no log of a sum
        total = np.asarray(two.X.sum(axis=1)).ravel()
        two.X = (sparse.diags(1e4 / total) @ two.X).log1p().tocsr()
    found = READERS[reader](two, tmp_path)
    gm.pp.rank_tokenize(found, model=small_model, out=tmp_path / "out.zarr")
    stored = ad.read_zarr(tmp_path / "out.zarr").obsm["genemamba_tokens"]
    np.testing.assert_array_equal(stored[:, : expected.shape[1]], expected)
    np.testing.assert_array_equal(tokens(found, small_model), expected)


def test_joined_files_are_read_as_each_alone(pbmc: AnnData, small_model: GeneMamba) -> None:
    assert small_model.vocab is not None
    one, two = pbmc[:20].copy(), pbmc[20:40].copy()
    two.var_names = small_model.vocab.ensembl_id
    both = ad.concat([one, two], join="outer")
    both.X = np.nan_to_num(both.X)
    alone = np.vstack([tokens(one, small_model), tokens(two, small_model)])
    np.testing.assert_array_equal(tokens(both, small_model), alone)


def test_training_cells_are_recognised(pbmc: AnnData, small_model: GeneMamba) -> None:
    counts = sparse.csr_matrix(pbmc.X)
    small_model.sketch = Sketch.of([counts], np.argsort(-counts.getnnz(0))[:100])
    alone = gm.pp.check(pbmc, model=small_model).seen
    two = gm.pp.check(split(pbmc, small_model, FORMS["id and symbol"]), model=small_model).seen
    assert alone == two


def test_attributions_are_in_the_column_that_names_a_gene_best(
    pbmc: AnnData, small_model: GeneMamba
) -> None:
    one = pbmc[:5].copy()
    two = split(one, small_model, FORMS["made unique by scanpy"])
    for adata in (one, two):
        gm.tl.attribute(adata, model=small_model, method="gradient_x_input")
    layers = [adata.layers["genemamba_attribution"].toarray() for adata in (one, two)]
    # "-1" resolves to the same symbol and comes first
    np.testing.assert_allclose(layers[1][:, :N_SPLIT], layers[0][:, :N_SPLIT], atol=1e-6)
    assert not layers[1][:, N_SPLIT : 2 * N_SPLIT].any()


OTHERS = {
    "antibodies": ["Antibody Capture"] * 3,
    "guides": ["CRISPR Guide Capture"] * 3,
    "several": ["Antibody Capture", "Multiplexing Capture", "Custom"],
}


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.filterwarnings("ignore:memory grows")
def test_what_is_no_gene_is_left_out(
    pbmc: AnnData, small_model: GeneMamba, others: str, reader: str, tmp_path: Path
) -> None:
    genes = pbmc[:, 3:].copy()
    expected = tokens(genes, small_model)
    both = AnnData(
        sparse.csr_matrix(np.hstack([np.full((700, 3), 300), genes.X])), obs=pbmc.obs, var=pbmc.var
    )
    both.var["feature_types"] = OTHERS[others] + ["Gene Expression"] * 762
    found = READERS[reader](both, tmp_path)
    np.testing.assert_array_equal(tokens(found, small_model), expected)
    record = found.uns["genemamba"]["genemamba_tokens"]
    assert record["gene_status"]["other"] == 3
    assert record["counts_lost"] == pytest.approx(0)
    if reader == "dense":
        report = gm.pp.check(found, model=small_model)
        assert "3 columns are not genes" in " ".join(report.notes)
        assert report.cells["counts_lost"].max() == pytest.approx(0)


def test_no_column_is_a_gene(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.var["feature_types"] = "Antibody Capture"
    with pytest.raises(InputError, match=r"no column of adata.X is a gene.*'Antibody Capture'"):
        gm.tl.embed(pbmc, model=small_model)


@pytest.mark.parametrize(
    ("genes", "others"),
    [("GEX", "ADT"), ("rna", "protein"), ("RNA", "ATAC"), ("Gene Expression ", "Antibody Capture "),
     ("gene_expression", "antibody_capture"), ("Genes", "Antibody"), ("mRNA", "sgRNA"),
     ("nan", "HTO"), ("Gene Expression", "anything"), (np.nan, "Peaks")],
)  # fmt: skip
def test_words_for_what_is_no_gene(
    pbmc: AnnData, small_model: GeneMamba, genes: Any, others: str
) -> None:
    expected = tokens(pbmc[:, 3:].copy(), small_model)
    pbmc.X[:, :3] = 300
    pbmc.var["feature_types"] = [others] * 3 + [genes] * 762
    np.testing.assert_array_equal(tokens(pbmc, small_model), expected)


@pytest.mark.parametrize("said", ["protein_coding", "", np.nan])
def test_a_column_that_does_not_say_what_is_a_gene(
    pbmc: AnnData, small_model: GeneMamba, said: Any
) -> None:
    expected = tokens(pbmc.copy(), small_model)
    pbmc.var["feature_types"] = said
    np.testing.assert_array_equal(tokens(pbmc, small_model), expected)
