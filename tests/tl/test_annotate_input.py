"""Which embedding, labels and genes an annotation reads, and which it cannot use."""

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

from .annotated import few, without_embedding

pytestmark = pytest.mark.filterwarnings("ignore:fewer than 5 labelled cells")


@pytest.fixture
def pbmc(embedded: AnnData) -> AnnData:
    return embedded.copy()


def other_layer(adata: AnnData) -> dict:
    adata.layers["other"] = adata.X[:, ::-1].copy()
    return {"layer": "other"}


def other_names(adata: AnnData) -> dict:
    adata.var["other"] = adata.var_names[::-1]
    return {"gene_ids": "other"}


def other_list(adata: AnnData) -> dict:
    return {"gene_ids": list(adata.var_names[::-1])}


def fewer_tokens(adata: AnnData) -> dict:
    return {"max_tokens": 8}


def first_token(adata: AnnData) -> dict:
    adata.uns["genemamba"] = {}
    return {"max_tokens": 2047}


def annotated_and_integrated(cells: AnnData) -> AnnData:
    gm.tl.annotate(cells, unknown=False)
    gm.tl.integrate(cells, "batch")
    return cells


@pytest.fixture(scope="module")
def fresh(_pbmc: AnnData) -> AnnData:
    """Cells that had no embedding before."""
    return annotated_and_integrated(without_embedding(_pbmc[:60].copy()))


@pytest.mark.parametrize("made", [other_layer, other_names, other_list, fewer_tokens, first_token])
def test_an_embedding_of_something_else_is_not_used(pbmc: AnnData, fresh: AnnData, made) -> None:
    cells = pbmc[:60].copy()
    del cells.obsm["X_genemamba"]
    gm.tl.embed(cells, **made(cells))
    kept = cells.obsm["X_genemamba"].copy()
    annotated_and_integrated(cells)
    np.testing.assert_allclose(
        cells.obsm["genemamba_proba"], fresh.obsm["genemamba_proba"], atol=1e-3
    )
    assert not cells.uns["genemamba"]["annotate"]["embedding_reused"]
    assert not cells.uns["genemamba"]["X_genemamba_integrated"]["embedding_reused"]
    np.testing.assert_array_equal(cells.obsm["X_genemamba"], kept)  # it is not ours to replace
    again = fresh.copy()
    gm.tl.annotate(again, unknown=False)
    assert again.uns["genemamba"]["annotate"]["embedding_reused"]


def test_genes_dropped_since_are_other_genes(pbmc: AnnData) -> None:
    gm.tl.annotate(few := pbmc[:60, ::2].copy(), unknown=False)
    assert not few.uns["genemamba"]["annotate"]["embedding_reused"]


@pytest.mark.parametrize("none", ["", "  ", "nan", "NaN", "None", "<NA>", np.nan, None, pd.NA])
@pytest.mark.parametrize("kind", [object, "category"])
def test_what_is_no_label_is_not_taught(pbmc: AnnData, none: object, kind: str) -> None:
    labels = pbmc.obs["bulk_labels"].astype(object)
    missing = np.arange(pbmc.n_obs) % 3 == 0
    labels[missing] = none
    pbmc.obs["known"] = labels.astype(kind)
    gm.tl.annotate(pbmc, label_key="known", unknown=False, method="knn")
    named = pbmc.obs["genemamba_label"]
    assert set(named.cat.categories) == set(pbmc.obs["bulk_labels"].cat.categories)
    assert pbmc.obs.loc[missing, "genemamba_confidence"].notna().all()
    assert pbmc.uns["genemamba"]["annotate"]["annotated"] == missing.sum()


def test_given_labels_stay_where_a_class_has_no_embedding(pbmc: AnnData) -> None:
    labels = pbmc.obs["bulk_labels"].astype(object)
    lost = (labels == "CD34+").to_numpy()
    labels[:100] = np.where(lost[:100], "CD34+", None)
    pbmc.obs["known"] = labels
    pbmc.obsm["X_genemamba"][lost] = np.nan
    with pytest.warns(GeneMambaWarning, match=r"no cell will be named 'CD34\+'"):
        gm.tl.annotate(pbmc, label_key="known", method="knn")
    assert (pbmc.obs["genemamba_label"][lost] == "CD34+").all()
    assert "CD34+" not in pbmc.uns["genemamba"]["annotate"]["classes"]
    labels[~labels.isin(["CD34+", "CD19+ B"]).to_numpy()] = None
    pbmc.obs["known"] = labels
    columns = list(pbmc.obs)
    with pytest.raises(InputError, match=r"'CD34\+' in adata expresses a gene.*leaves 1 class"):
        gm.tl.annotate(pbmc, label_key="known", key_added="again")
    assert list(pbmc.obs) == columns


def test_batches_of_one_class_each_are_refused(halves: tuple[AnnData, AnnData]) -> None:
    reference, query = halves
    reference.obs["donor"] = reference.obs["bulk_labels"].astype(str)
    for method in ("probe", "knn"):
        with pytest.raises(InputError, match=r"(?s)no labelled cell can be held out.*batch_key"):
            gm.tl.annotate(
                query, reference=reference, label_key="bulk_labels", batch_key="donor",
                method=method,
            )  # fmt: skip


@pytest.mark.parametrize("method", ["probe", "knn"])
def test_a_fold_of_one_class_is_not_judged(halves: tuple[AnnData, AnnData], method: str) -> None:
    reference, query = halves
    labels = reference.obs["bulk_labels"].astype(str)
    reference = reference[labels.isin(["CD19+ B", "Dendritic"])].copy()
    labels = reference.obs["bulk_labels"].astype(str)
    y = (labels == "CD19+ B") & (np.arange(reference.n_obs) % 3 == 0)
    reference.obs["donor"] = np.where(y, "y", "x")  # without "x" there are B cells only
    gm.tl.annotate(
        query, reference=reference, label_key="bulk_labels", batch_key="donor", method=method
    )
    record = query.uns["genemamba"]["annotate"]
    assert record["held_out_cells"] == y.sum()
    assert 0.06 < record["temperature"] < 19


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_labels_that_mean_nothing_are_warned_of(halves: tuple[AnnData, AnnData], seed: int) -> None:
    reference, query = halves
    reference.obs["coin"] = np.random.default_rng(seed).choice(["a", "b"], reference.n_obs)
    with pytest.warns(GeneMambaWarning, match="close to a guess"):
        gm.tl.annotate(query, reference=reference, label_key="coin", method="knn")


NAMES = {"CD56+ NK": "T/NK", "CD19+ B": "/B", "Dendritic": "a/b/c"}


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_names_with_a_slash_can_be_written(pbmc: AnnData, suffix: str, tmp_path: Path) -> None:
    cells = AnnData(
        pbmc.X[:30], var=pbmc.var[[]], obsm={"X_genemamba": pbmc.obsm["X_genemamba"][:30]}
    )
    cells.uns = {"genemamba": pbmc.uns["genemamba"]}
    labels = pbmc.obs["bulk_labels"].astype(str).replace(NAMES)[:30].to_numpy(object)
    labels[::3] = None
    cells.obs["label"] = labels
    gm.tl.annotate(cells, label_key="label", coverage=0.9, method="knn", unknown=False)
    gm.tl.attribute(cells, groupby="genemamba_label", method="gradient_x_input")
    gm.tl.perturb(cells, "CD3D", groupby="genemamba_label", n_controls=0)

    def keys(tree: object) -> list[str]:
        if isinstance(tree, pd.DataFrame):
            return list(tree.columns)
        if not hasattr(tree, "items"):
            return []
        return [k for key, value in tree.items() if key for k in (key, *keys(value))]

    written = [cells.obs, cells.var, cells.obsm, cells.varm, cells.layers, cells.uns]
    assert not [key for part in written for key in keys(part) if "/" in key]
    path = tmp_path / f"a.{suffix}"
    cells.write_zarr(path) if suffix == "zarr" else cells.write_h5ad(path)
    read = ad.read_zarr(path) if suffix == "zarr" else ad.read_h5ad(path)
    assert {"T/NK", "/B"} <= set(read.uns["genemamba"]["annotate"]["classes"])
    with pytest.raises(InputError, match="'/'"):
        gm.tl.annotate(cells, label_key="label", key_added="a/b")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda r: setattr(r, "X", r.X - 3), "reference.X holds negative.*reference_layer='good'"),
        (lambda r: setattr(r, "X", None), "reference.X is empty.*reference_layer='good'"),
        (
            lambda r: setattr(r, "var_names", r.var["id"]),
            r"reference\.var.*reference\.var\['name'\]",
        ),
    ],
)
def test_errors_about_the_reference_name_it(halves: tuple[AnnData, AnnData], spoil, said) -> None:
    reference, query = (without_embedding(half[:60]) for half in halves)
    reference.layers["good"] = reference.X.copy()
    reference.var["id"] = [f"gene {i}" for i in range(reference.n_vars)]
    reference.var["name"] = reference.var_names
    spoil(reference)
    with pytest.raises(InputError, match=f"(?s){said}") as caught:
        gm.tl.annotate(query, reference=reference, label_key="bulk_labels")
    assert "adata" not in str(caught.value)


def test_layers_of_reference_and_adata_are_two_things(halves: tuple[AnnData, AnnData]) -> None:
    reference, query = few(halves)
    other, own = (without_embedding(half) for half in (reference, query))
    other.layers["good"], own.layers["mine"] = other.X, own.X
    other.X, own.X = other.X - 3, own.X - 3
    how = {"label_key": "bulk_labels", "method": "knn"}
    gm.tl.annotate(own, reference=other, **how, layer="mine", reference_layer="good")
    gm.tl.annotate(query, reference=reference, **how)
    assert (own.obs["genemamba_label"] == query.obs["genemamba_label"]).mean() > 0.99
    other.X = other.layers.pop("good")
    gm.tl.annotate(own, reference=other, **how, layer="mine", reference_layer="X")
    with pytest.raises(InputError, match="reference is not an AnnData"):
        gm.tl.annotate(own, layer="mine", reference_layer="X")


@pytest.mark.parametrize("own", ["order", "ids", "column", "layer", "raw"])
def test_layer_and_gene_ids_are_read_of_a_reference_that_has_them(
    pbmc: AnnData, small_model: GeneMamba, own: str
) -> None:
    reference, query = map(without_embedding, (pbmc[:150].copy(), pbmc[150:200].copy()))
    expected = query.copy()
    how = {"reference": reference.copy(), "label_key": "bulk_labels", "unknown": False,
           "model": small_model, "method": "knn"}  # fmt: skip
    gm.tl.annotate(expected, **how)
    options: dict[str, object] = {}
    if own == "order":
        reference, options = reference[:, ::-1].copy(), {"gene_ids": list(query.var_names)}
    elif own == "ids":
        options = {"gene_ids": list(query.var_names)}
        assert small_model.vocab is not None
        reference.var_names = small_model.vocab.ensembl_id
    elif own == "column":
        query.var["symbol"] = query.var_names.to_numpy()
        query.var_names, options = [f"row{i}" for i in range(query.n_vars)], {"gene_ids": "symbol"}
    elif own == "layer":
        query.layers["counts"], options = (
            query.X.copy(),
            {"layer": "counts", "reference_layer": "X"},
        )
        query.X = -np.ones(query.shape)
    else:
        query.raw, options = query.copy(), {"layer": "raw", "reference_layer": "X"}
        query.X = -np.ones(query.shape)
    gm.tl.annotate(query, **how | {"reference": reference}, **options)
    pd.testing.assert_series_equal(query.obs["genemamba_label"], expected.obs["genemamba_label"])


def test_a_reference_with_its_names_in_a_column(pbmc: AnnData, small_model: GeneMamba) -> None:
    reference, query = map(without_embedding, (pbmc[:150].copy(), pbmc[150:200].copy()))
    reference.var["name"] = reference.var_names.to_numpy()
    reference.var_names = [f"row{i}" for i in range(reference.n_vars)]
    with pytest.raises(InputError, match=r"reference\.var_names") as refused:
        gm.tl.annotate(query, reference=reference, label_key="bulk_labels", model=small_model)
    assert "reference.var_names = reference.var['name']" in refused.value.fix


@pytest.mark.parametrize("key", ["label_key", "batch_key"])
def test_a_name_without_end_costs_no_memory(
    pbmc: AnnData, small_model: GeneMamba, key: str
) -> None:
    pbmc = without_embedding(pbmc)
    pbmc.obs["long"] = ["L" * 100_000, *["A", "B"] * 349, np.nan]
    with pytest.raises(InputError, match="holds a name of 100,000 characters"):
        gm.tl.annotate(pbmc, **{"label_key": "bulk_labels", key: "long"}, model=small_model)
