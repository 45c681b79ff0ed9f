from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import CheckpointError, GeneMambaWarning, InputError
from genemamba.heads import read_head, write_head
from genemamba.network import GeneMamba

from .annotated import SLOTS, accuracy, few, without_embedding

pytestmark = pytest.mark.filterwarnings("ignore:fewer than 5 labelled cells")


@pytest.fixture
def pbmc(embedded: AnnData) -> AnnData:
    return embedded.copy()


@pytest.mark.parametrize("method", ["auto", "knn"])
def test_a_reference_names_the_types(halves: tuple[AnnData, AnnData], method: str) -> None:
    reference, query = halves
    before = reference.copy()
    assert gm.tl.annotate(
        query, reference=reference, label_key="bulk_labels", method=method, unknown=False,
        coverage=0.9,
    ) is None  # fmt: skip
    assert accuracy(query) > 0.65
    assert isinstance(query.obs["genemamba_label"].dtype, pd.CategoricalDtype)
    proba, sets = query.obsm["genemamba_proba"], query.obsm["genemamba_sets"]
    classes = query.uns["genemamba"]["annotate"]["classes"].tolist()
    assert classes == sorted(reference.obs["bulk_labels"].unique())
    assert proba.shape == sets.shape == (query.n_obs, len(classes))
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    confidence = query.obs["genemamba_confidence"]
    assert confidence.dtype == np.float32
    assert confidence.mean() == pytest.approx(accuracy(query), abs=0.1)
    truth = query.obs["bulk_labels"].astype(str)
    covered = [row[classes.index(name)] for row, name in zip(sets, truth, strict=True)]
    assert np.mean(covered) > 0.85
    record = query.uns["genemamba"]["annotate"]
    assert record["method"] == ("probe" if method == "auto" else method)
    assert record["annotated"] == query.n_obs
    assert set(query.obsm) == {"X_genemamba", "genemamba_proba", "genemamba_sets"}
    assert set(reference.obsm) == set(before.obsm)  # an input stays as it is
    assert reference.uns.keys() == before.uns.keys()
    assert reference.obs.equals(before.obs)


def test_labels_on_a_part_fill_the_rest(pbmc: AnnData) -> None:
    pbmc.obs["known"] = pbmc.obs["bulk_labels"].astype(object)
    missing = np.arange(pbmc.n_obs) % 3 == 0
    pbmc.obs.loc[missing, "known"] = np.nan
    gm.tl.annotate(pbmc, label_key="known", unknown=False, method="knn")
    given = pbmc.obs.loc[~missing]
    assert (given["genemamba_label"].astype(str) == given["bulk_labels"].astype(str)).all()
    assert given["genemamba_confidence"].isna().all()  # nothing was asked about them
    assert np.isnan(pbmc.obsm["genemamba_proba"][~missing]).all()
    assert pbmc.obs.loc[missing, "genemamba_confidence"].notna().all()
    assert accuracy(pbmc[missing]) > 0.65
    assert pbmc.uns["genemamba"]["annotate"]["annotated"] == missing.sum()


def test_mostly_unfamiliar_cells_are_warned_of(halves: tuple[AnnData, AnnData]) -> None:
    reference, query = halves
    lymphoid = ["CD19+ B", "CD56+ NK"]
    query = query[~query.obs["bulk_labels"].isin(lymphoid)].copy()
    reference = reference[reference.obs["bulk_labels"].isin(lymphoid)].copy()
    with pytest.warns(GeneMambaWarning, match="are unlike the reference.*use unknown=False"):
        gm.tl.annotate(query, reference=reference, label_key="bulk_labels", method="knn")
    assert (query.obs["genemamba_label"] == "unknown").mean() > 0.5


def test_cells_of_no_known_type_are_unknown(halves: tuple[AnnData, AnnData]) -> None:
    reference, query = halves
    reference = reference[reference.obs["bulk_labels"].isin(["CD19+ B", "CD56+ NK"])].copy()
    gm.tl.annotate(query, reference=reference, label_key="bulk_labels")
    unknown = query.obs["genemamba_label"] == "unknown"
    monocytes = query.obs["bulk_labels"].isin(["CD14+ Monocyte", "Dendritic"])
    familiar = query.obs["bulk_labels"].isin(["CD19+ B", "CD56+ NK"])
    assert unknown[monocytes].mean() > 0.8
    assert unknown[familiar].mean() < 0.2
    assert query.uns["genemamba"]["annotate"]["unknown"] == unknown.sum()
    assert (unknown == (query.obs["genemamba_novelty"] > 0.95)).all()


@pytest.mark.parametrize("method", ["probe", "knn"])
def test_a_kept_annotation_answers_the_same(
    halves: tuple[AnnData, AnnData], method: str, tmp_path: Path
) -> None:
    reference, query = few(halves)
    again = query.copy()
    gm.tl.annotate(
        query, reference=reference, label_key="bulk_labels", method=method, folder=tmp_path
    )
    gm.tl.annotate(again, reference=tmp_path)
    for slot in SLOTS:
        pd.testing.assert_series_equal(query.obs[slot], again.obs[slot])
    other = gm.models.load("genemamba-mini")
    other.provenance["sha256"] = "0" * 64
    with pytest.raises(InputError, match="another model"):
        gm.tl.annotate(without_embedding(query), reference=tmp_path, model=other)


def test_twice_gives_the_same_and_a_file_keeps_it(
    halves: tuple[AnnData, AnnData], tmp_path: Path
) -> None:
    reference, query = few(halves)
    twin = query.copy()
    for adata in (query, twin):
        gm.tl.annotate(adata, reference=reference, label_key="bulk_labels", coverage=0.8)
    pd.testing.assert_frame_equal(query.obs, twin.obs)
    query.write_h5ad(tmp_path / "cells.h5ad")
    read = ad.read_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(read.obsm["genemamba_proba"], query.obsm["genemamba_proba"])
    assert read.uns["genemamba"]["annotate"]["method"] == "probe"
    # it writes over its own slots
    gm.tl.annotate(read, reference=reference, label_key="bulk_labels", method="knn")
    assert "genemamba_sets" not in read.obsm


def test_an_embedding_is_made_if_there_is_none(halves: tuple[AnnData, AnnData]) -> None:
    reference, query = few(halves)
    bare = [without_embedding(half) for half in (reference, query)]
    gm.tl.annotate(bare[1], reference=bare[0], label_key="bulk_labels")
    assert "X_genemamba" in bare[1].obsm and "X_genemamba" in bare[1].uns["genemamba"]
    assert not bare[0].obsm
    query = query.copy()
    gm.tl.annotate(query, reference=reference, label_key="bulk_labels")
    assert (bare[1].obs["genemamba_label"] == query.obs["genemamba_label"]).mean() > 0.95


def test_cells_without_genes_are_not_named(halves: tuple[AnnData, AnnData]) -> None:
    reference, query = halves
    query.obsm["X_genemamba"][:2] = np.nan
    reference.obsm["X_genemamba"][:2] = np.nan
    how = {"reference": reference, "label_key": "bulk_labels", "method": "knn"}
    gm.tl.annotate(query, **how)
    assert (query.obs["genemamba_label"][:2] == "unknown").all()
    assert query.obs["genemamba_confidence"][:2].isna().all()
    gm.tl.annotate(query, **how, unknown=False)
    assert query.obs["genemamba_label"][:2].isna().all()


def test_copy_and_key_added(halves: tuple[AnnData, AnnData]) -> None:
    reference, query = halves
    how = {"reference": reference, "label_key": "bulk_labels", "method": "knn"}
    changed = gm.tl.annotate(query, **how, key_added="atlas", copy=True)
    assert list(query.obsm) == ["X_genemamba"]
    assert "atlas_label" not in query.obs
    assert {"atlas_label", "atlas_confidence", "atlas_distance"} < set(changed.obs)
    assert "annotate_atlas" in changed.uns["genemamba"]
    gm.tl.annotate(changed, **how, key_added="atlas")


BAD = {
    "no such column": ({"label_key": "type"}, "not a column of reference.obs"),
    "measurements": ({"label_key": "n"}, "holds fractions"),
    "all missing": ({"label_key": "empty"}, "is empty"),
    "one class": ({"label_key": "same"}, "two classes"),
    "unknown is a label": ({"label_key": "doubt"}, "is one of the labels"),
    "no such batch": ({"batch_key": "donor"}, "not a column"),
    "missing batch": ({"batch_key": "empty"}, "is missing"),
    "method": ({"method": "svm"}, "'svm' is unknown"),
    "coverage": ({"coverage": 90}, "not between 0 and 1"),
    "labels of nobody": ({"label_key": None}, "without label_key"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_and_nothing_written(
    halves: tuple[AnnData, AnnData], what: str
) -> None:
    reference, query = halves
    n = reference.n_obs
    reference.obs["n"] = np.arange(n) % 3 / 2
    reference.obs["empty"] = pd.Series([np.nan] * n, index=reference.obs_names, dtype=object)
    reference.obs["same"] = "T"
    reference.obs["doubt"] = np.where(np.arange(n) % 2, "unknown", "T")
    columns = list(query.obs)
    arguments, message = BAD[what]
    with pytest.raises(InputError, match=message) as caught:
        gm.tl.annotate(
            query,
            **({"reference": reference, "label_key": "bulk_labels"} | arguments),
        )
    assert caught.value.fix
    assert list(query.obsm) == list(query.uns["genemamba"]) == ["X_genemamba"]
    assert list(query.obs) == columns


def test_no_common_genes(halves: tuple[AnnData, AnnData]) -> None:
    reference, query = halves
    with pytest.raises(InputError, match="no gene in common"):
        gm.tl.annotate(
            query[:, :300].copy(), reference=reference[:, 300:].copy(), label_key="bulk_labels"
        )


def test_a_reference_embedded_by_another_model(
    halves: tuple[AnnData, AnnData], small_model: GeneMamba
) -> None:
    reference, query = halves
    del reference.obsm["X_genemamba"]
    gm.tl.embed(reference, model=small_model)
    with pytest.raises(InputError, match=r"reference\.obsm\['X_genemamba'\] was computed by"):
        gm.tl.annotate(query, reference=reference, label_key="bulk_labels")
    del reference.uns["genemamba"]
    with pytest.raises(InputError, match="unknown model"):
        gm.tl.annotate(query, reference=reference, label_key="bulk_labels")


def test_labels_everywhere_leave_nothing_to_do(pbmc: AnnData) -> None:
    with pytest.raises(InputError, match="every cell has a label"):
        gm.tl.annotate(pbmc, label_key="bulk_labels")


def test_a_taken_slot_is_left_alone(pbmc: AnnData) -> None:
    pbmc.obs["atlas_label"] = "mine"
    with pytest.raises(InputError, match="not written by genemamba"):
        gm.tl.annotate(pbmc, key_added="atlas")


def test_a_classifier_of_an_earlier_version_is_named(
    pbmc: AnnData, small_model: GeneMamba, tmp_path: Path
) -> None:
    small_model.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "labels").mkdir()
    (tmp_path / "model" / "labels" / "labels.json").write_text("{}")
    with pytest.raises(InputError, match="is of an earlier version of genemamba"):
        gm.tl.annotate(without_embedding(pbmc), model=tmp_path / "model")


def test_an_annotation_of_an_earlier_version_has_no_novelty(
    halves: tuple[AnnData, AnnData], tmp_path: Path
) -> None:
    reference, query = few(halves)
    gm.tl.annotate(
        query, reference=reference, label_key="bulk_labels", method="knn", folder=tmp_path
    )
    head = read_head(tmp_path)
    write_head(replace(head, novelty=None), tmp_path)
    gm.tl.annotate(query, reference=tmp_path)
    assert "genemamba_novelty" not in query.obs
    far = query.obs["genemamba_distance"] > head.farthest
    assert ((query.obs["genemamba_label"] == "unknown") == far).all()


def test_an_annotation_needs_the_classifier_that_it_was_fitted_with(
    halves: tuple[AnnData, AnnData], tmp_path: Path
) -> None:
    reference, query = few(halves)
    gm.tl.annotate(
        query, reference=reference, label_key="bulk_labels", method="knn", folder=tmp_path / "a"
    )
    mini = Path(str(gm.models.load("genemamba-mini").provenance["path"]))
    shutil.copytree(mini, tmp_path / "m", ignore=shutil.ignore_patterns("labels"))
    before = query.uns["genemamba"]
    with pytest.raises(CheckpointError, match="tells unknown types with the classifier"):
        gm.tl.annotate(query, reference=tmp_path / "a", model=tmp_path / "m")
    assert query.uns["genemamba"] is before


def test_a_checkpoint_without_labels_says_so(pbmc: AnnData, small_model: GeneMamba) -> None:
    with pytest.raises(InputError, match="without a classifier"):
        gm.tl.annotate(without_embedding(pbmc), model=small_model)
    with pytest.raises(InputError, match="no labels to fit to"):
        gm.tl.annotate(pbmc, method="knn")


def test_a_folder_that_is_none(pbmc: AnnData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither an AnnData nor the folder"):
        gm.tl.annotate(pbmc, reference=tmp_path)
    with pytest.raises(InputError, match="contains labels, but label_key"):
        gm.tl.annotate(pbmc, reference=tmp_path, label_key="bulk_labels")


def test_a_damaged_folder(halves: tuple[AnnData, AnnData], tmp_path: Path) -> None:
    reference, query = few(halves)
    gm.tl.annotate(query, reference=reference, label_key="bulk_labels", folder=tmp_path)
    (tmp_path / "labels.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="no whole label head"):
        gm.tl.annotate(query, reference=tmp_path)


def test_a_class_of_one_cell_is_warned_of(halves: tuple[AnnData, AnnData]) -> None:
    reference, query = halves
    names = reference.obs["bulk_labels"].astype(str).to_numpy(dtype=object)
    names[0] = "rare"
    reference.obs["names"] = names
    with pytest.warns(GeneMambaWarning, match="rare"):
        gm.tl.annotate(query, reference=reference, label_key="names", method="knn")
    assert "rare" in query.uns["genemamba"]["annotate"]["classes"]
    assert set(query.obs["genemamba_label"]) == set(query.obs["genemamba_label"].cat.categories)
