"""Labels without a reference: terms of the Cell Ontology from the classifier of the checkpoint."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData

import genemamba as gm
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.ontology import Ontology

ONTOLOGY = Ontology.load()


@pytest.fixture(scope="module")
def _embedded() -> AnnData:
    adata = sc.datasets.pbmc68k_reduced()
    adata = AnnData(adata.raw.X, adata.obs[["bulk_labels", "louvain"]], adata.raw.var)
    gm.tl.embed(adata)
    return adata


@pytest.fixture
def pbmc(_embedded: AnnData) -> AnnData:
    return _embedded.copy()


def terms(adata: AnnData) -> list[str]:
    return [
        ONTOLOGY.find(name) for name in adata.obs["genemamba_label"].unique() if name != "unknown"
    ]


def named(adata: AnnData, kind: str, lineage: str) -> float:
    """Return the share of the cells of a kind that are called a lineage, or a type of it."""
    own = adata.obs["genemamba_cl"][adata.obs["bulk_labels"] == kind].astype(object)
    top = ONTOLOGY.find(lineage)
    return np.mean([top in ONTOLOGY.ancestors(t, include_self=True) for t in own.dropna()])


def test_cells_are_named_without_a_reference(pbmc: AnnData) -> None:
    gm.tl.annotate(pbmc)
    assert named(pbmc, "CD14+ Monocyte", "leukocyte") > 0.95
    assert named(pbmc, "CD19+ B", "lymphocyte of B lineage") > 0.7  # a panel of 765 genes
    assert named(pbmc, "CD56+ NK", "lymphocyte") > 0.9
    assert (pbmc.obs["genemamba_label"] == "unknown").mean() < 0.15


def test_names_ids_and_confidence_belong_together(pbmc: AnnData) -> None:
    gm.tl.annotate(pbmc)
    label, cl = pbmc.obs["genemamba_label"].astype(object), pbmc.obs["genemamba_cl"].astype(object)
    none = label == "unknown"
    assert (cl.isna() == none).all()
    assert [ONTOLOGY.name(t) for t in cl[~none]] == label[~none].tolist()
    classes = pbmc.uns["genemamba"]["annotate"]["classes"].tolist()
    assert set(classes) == set(label[~none])
    table = pd.DataFrame(pbmc.obsm["genemamba_proba"], pbmc.obs_names, classes)
    own = [table.at[cell, name] for cell, name in label[~none].items()]
    np.testing.assert_array_equal(own, pbmc.obs["genemamba_confidence"][~none])
    assert (pbmc.obs["genemamba_confidence"][~none] >= 0.8).all()
    assert "genemamba_novelty" not in pbmc.obs


def test_fine_gives_the_most_probable_type_and_broad_a_lineage(pbmc: AnnData) -> None:
    gm.tl.annotate(pbmc, level="fine")
    fine = {ONTOLOGY.depth(t) for t in terms(pbmc)}
    assert pbmc.uns["genemamba"]["annotate"]["panel"]  # a panel is always far from whole cells
    assert not (pbmc.obs["genemamba_label"] == "unknown").any()
    assert pbmc.obs["genemamba_confidence"].min() < 0.8
    assert not any(ONTOLOGY.is_ancestor(a, b) for a in terms(pbmc) for b in terms(pbmc)), (
        "a cell gets the finest types, not what includes them"
    )
    gm.tl.annotate(pbmc, level="broad")
    broad = {ONTOLOGY.depth(t) for t in terms(pbmc)}
    assert np.mean([*broad]) < np.mean([*fine])
    assert set(pbmc.obs["genemamba_label"]) >= {"monocyte", "T cell"}


def test_a_depth_and_a_list_limit_the_terms(pbmc: AnnData) -> None:
    gm.tl.annotate(pbmc, level=5)
    assert max(ONTOLOGY.depth(t) for t in terms(pbmc)) <= 5
    gm.tl.annotate(pbmc, level=["T cells", "CL:0000236", "monocyte"])
    assert {*pbmc.obs["genemamba_label"]} <= {"T cell", "B cell", "monocyte", "unknown"}
    assert "T cell" in {*pbmc.obs["genemamba_label"]}


def test_every_cell_with_genes_gets_a_name_if_asked(pbmc: AnnData) -> None:
    pbmc.X[0] = 0
    del pbmc.obsm["X_genemamba"]
    with pytest.warns(UserWarning, match="express no gene"):
        gm.tl.annotate(pbmc, unknown=False)
    label = pbmc.obs["genemamba_label"]
    assert label.isna().tolist() == [True] + [False] * (pbmc.n_obs - 1)
    assert "unknown" not in label.cat.categories


def test_a_tissue_narrows_the_types_and_is_guessed_without(pbmc: AnnData) -> None:
    gm.tl.annotate(pbmc)
    guess = pbmc.uns["genemamba"]["annotate"]["tissue_guess"]
    assert guess["tissues"][0] in ("Blood", "Bone marrow")
    assert 0 < guess["shares"][2] <= guess["shares"][0] <= 1
    gm.tl.annotate(pbmc, tissue="brain", level="fine")
    assert "tissue_guess" not in pbmc.uns["genemamba"]["annotate"]
    assert pbmc.uns["genemamba"]["annotate"]["params"]["tissue"] == "brain"
    assert "decidual natural killer cell, human" not in {*pbmc.obs["genemamba_label"]}


def test_clusters_get_a_label_and_cells_keep_theirs(pbmc: AnnData) -> None:
    gm.tl.annotate(pbmc)
    before = pbmc.obs["genemamba_label"].copy()
    gm.tl.annotate(pbmc, groupby="louvain")
    pd.testing.assert_series_equal(pbmc.obs["genemamba_label"], before)
    groups = pbmc.uns["genemamba"]["annotate"]["groups"]
    assert groups["name"].tolist() == [str(i) for i in range(pbmc.obs["louvain"].nunique())]
    assert groups["cells"].sum() == pbmc.n_obs
    for name, label, sure, agree in zip(
        *(groups[key] for key in ("name", "label", "confidence", "agreement")), strict=True
    ):
        own = pbmc.obs["louvain"] == name
        assert (pbmc.obs.loc[own, "genemamba_group_label"] == label).all()
        if label != "unknown":
            assert 0.8 <= sure <= 1 and 0.4 < agree <= 1
    gm.tl.annotate(pbmc)
    assert not [key for key in (*pbmc.obs, *pbmc.uns) if "group_label" in key]


def test_clusters_are_labelled_as_the_plain_mean_of_their_cells(pbmc: AnnData) -> None:
    pbmc.obs["part"] = np.arange(pbmc.n_obs) % 12  # numbers
    pbmc.obsm["X_genemamba"][::24] = np.nan
    pbmc.obs.loc[pbmc.obs_names[5::12], "part"] = 99
    pbmc.obsm["X_genemamba"][5::12] = np.nan  # a group without any vector
    level = ["T cell", "B cell", "monocyte", "lymphocyte"]
    gm.tl.annotate(pbmc, level=level, groupby="part", unknown=False)
    entry = pbmc.uns["genemamba"]["annotate"]
    groups, classes = entry["groups"], entry["classes"].tolist()
    assert groups["groupby"] == "part"
    assert groups["name"].tolist() == [*map(str, (0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 99))]
    label, proba = pbmc.obs["genemamba_label"].astype(object), pbmc.obsm["genemamba_proba"]
    for i, name in enumerate(groups["name"][:-1]):
        own = (pbmc.obs["part"].astype(str) == name).to_numpy()
        mean = np.nanmean(proba[own], axis=0)
        best = groups["label"][i]
        assert groups["confidence"][i] == pytest.approx(mean[classes.index(best)], abs=1e-6)
        below = [
            ONTOLOGY.find(best) in ONTOLOGY.ancestors(ONTOLOGY.find(n), include_self=True)
            for n in label[own].dropna()
        ]
        assert groups["agreement"][i] == pytest.approx(np.mean(below), abs=1e-6)
    assert groups["label"][-1] == "" and np.isnan(groups["confidence"][-1])
    assert pbmc.obs["genemamba_group_label"].isna().tolist() == (pbmc.obs["part"] == 99).tolist()


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_cells_that_are_read_lazily(pbmc: AnnData, tmp_path: Path) -> None:
    few = pbmc[:60].copy()
    few.write_zarr(tmp_path / "cells.zarr")
    lazy = ad.experimental.read_lazy(tmp_path / "cells.zarr")
    gm.tl.annotate(few, groupby="louvain")
    gm.tl.annotate(lazy, groupby="louvain")
    for key in ("genemamba_label", "genemamba_group_label"):
        assert lazy.obs[key].to_series().tolist() == few.obs[key].tolist()
        assert list(lazy.uns[f"{key}_colors"]) == list(few.uns[f"{key}_colors"])


def test_a_label_that_was_given_counts_for_its_cluster(pbmc: AnnData) -> None:
    pbmc.obs["known"] = pbmc.obs["bulk_labels"].astype(object)
    pbmc.obs.loc[pbmc.obs_names[::3], "known"] = np.nan
    pbmc.obs["cluster"] = np.where(pbmc.obs["known"] == "CD19+ B", "labelled", "rest")
    gm.tl.annotate(pbmc, label_key="known", method="knn", groupby="cluster")
    groups = pbmc.uns["genemamba"]["annotate"]["groups"]
    assert groups["label"][0] == "CD19+ B"
    assert groups["confidence"][0] == groups["agreement"][0] == pytest.approx(1)


@pytest.mark.parametrize("block", [1, 300])
def test_blocks_change_nothing(pbmc: AnnData, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pbmc = pbmc[:400].copy()
    pbmc.obsm["X_genemamba"][7] = np.nan
    whole = gm.tl.annotate(pbmc, groupby="louvain", copy=True)
    monkeypatch.setattr("genemamba.tl._annotation_terms._BLOCK", block)
    gm.tl.annotate(pbmc, groupby="louvain")
    for key in ("label", "cl", "distance", "group_label"):
        assert pbmc.obs[f"genemamba_{key}"].equals(whole.obs[f"genemamba_{key}"])
    a, b = (one.obsm["genemamba_proba"] for one in (pbmc, whole))
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert np.isnan(a[7]).all() and np.isfinite(np.delete(a, 7, axis=0)).all()


@pytest.mark.parametrize("of", [tuple, set, np.array, pd.Index, pd.Series])
def test_types_come_in_any_list(pbmc: AnnData, of: type, tmp_path: Path) -> None:
    few = pbmc[:50].copy()
    gm.tl.annotate(few, level=of(["T cells", "monocyte"]))
    assert {*few.obs["genemamba_label"]} <= {"T cell", "monocyte", "unknown"}
    few.write_h5ad(tmp_path / "few.h5ad")
    kept = ad.read_h5ad(tmp_path / "few.h5ad").uns["genemamba"]["annotate"]["params"]["level"]
    assert {*kept} == {"T cells", "monocyte"}


def test_a_depth_of_numpy_is_kept_as_a_number(pbmc: AnnData) -> None:
    gm.tl.annotate(pbmc, level=np.int64(4))
    assert type(pbmc.uns["genemamba"]["annotate"]["params"]["level"]) is int


def test_unsure_cells_are_not_said_to_be_unlike_the_training_cells(pbmc: AnnData) -> None:
    with pytest.warns(GeneMambaWarning, match="none of the cell types that they may be called"):
        gm.tl.annotate(pbmc, level=["hepatocyte"])
    assert pbmc.obsm["genemamba_proba"].shape == (pbmc.n_obs, 0)


def test_clusters_of_a_reference_based_annotation(pbmc: AnnData) -> None:
    reference, query = pbmc[::2].copy(), pbmc[1::2].copy()
    query.obs["cluster"] = [*query.obs["louvain"].astype(str)[:-1], "alone"]  # of one cell
    options = {"reference": reference, "label_key": "bulk_labels", "method": "knn"}
    gm.tl.annotate(query, groupby="cluster", unknown=False, **options)
    groups = query.uns["genemamba"]["annotate"]["groups"]
    table = pd.crosstab(query.obs["cluster"], query.obs["genemamba_label"], normalize="index")
    for name, label, agree in zip(
        groups["name"], groups["label"], groups["agreement"], strict=True
    ):
        assert agree == pytest.approx(table.at[name, label])
    assert groups["cells"][groups["name"] == "alone"] == [1]
    assert "genemamba_cl" not in query.obs


def test_unknown_is_grey_and_a_file_keeps_all(pbmc: AnnData, tmp_path: Path) -> None:
    gm.tl.annotate(pbmc, groupby="louvain", level=["T cell", "B cell", "monocyte"])
    names = pbmc.obs["genemamba_label"].cat.categories.tolist()
    colors = pbmc.uns["genemamba_label_colors"]
    assert len(colors) == len(names)
    assert len(set(colors)) == 4 and colors[names.index("unknown")] == "#b3b3b3"
    pbmc.write_h5ad(tmp_path / "cells.h5ad")
    again = ad.read_h5ad(tmp_path / "cells.h5ad")
    assert again.obs["genemamba_cl"].equals(pbmc.obs["genemamba_cl"])
    kept = again.uns["genemamba"]["annotate"]["groups"]
    assert kept["label"].tolist() == pbmc.uns["genemamba"]["annotate"]["groups"]["label"].tolist()


def test_the_same_cells_get_the_same_label_alone(pbmc: AnnData) -> None:
    gm.tl.annotate(pbmc)
    few = pbmc[5:8].copy()
    del few.obsm["X_genemamba"]
    gm.tl.annotate(few)
    assert few.obs["genemamba_label"].tolist() == pbmc.obs["genemamba_label"][5:8].tolist()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level": 99}, "level=99 is beyond the tree.*give a depth from 1"),
        ({"level": 0}, "level=0 is beyond the tree"),
        ({"level": "coarse"}, "level='coarse' is unknown.*'auto', 'fine', 'broad'"),
        ({"level": []}, "level=.* is unknown"),
        ({"level": True}, "level=True is unknown"),
        ({"level": ["T cel"]}, "'T cel' in level is not a term.*did you mean .*'T cell'"),
        ({"level": ["CL:0000359"]}, "was not trained on.*CL:0000359.*did you mean 'smooth muscle"),
        ({"tissue": "panceras"}, "tissue='panceras'.*did you mean 'Pancreas'"),
        ({"tissue": 3}, "tissue=3 is not one"),
        ({"groupby": "leiden"}, "groupby='leiden' is not a column"),
        ({"groupby": "genemamba_label"}, "is a column that annotate itself writes.*'leiden'"),
        ({"level": "T cell"}, "level='T cell' is unknown.*level=\\['T cell'\\]"),
        ({"level": np.array("T cell")}, "level=array.* is unknown"),
        ({"level": ["hepatocyte"], "tissue": "brain"}, "is expected in tissue='brain'"),
        ({"key_added": "a/b"}, "key_added with a '/' \\('a/b'\\)"),
        ({"coverage": 0.9}, "coverage=0.9, but there are no labels"),
        ({"level": "fine", "label_key": "bulk_labels"}, "level='fine' is for the classifier of"),
        ({"tissue": "blood", "label_key": "bulk_labels"}, "tissue='blood' is for the classifier"),
    ],
)
def test_wrong_arguments_are_rejected_before_anything_is_written(
    pbmc: AnnData, options: dict, said: str
) -> None:
    before = pbmc.copy()
    with pytest.raises(InputError, match=f"(?s){said}"):
        gm.tl.annotate(pbmc, **options)
    assert [*pbmc.obs] == [*before.obs]
    assert [*pbmc.uns] == [*before.uns]
