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

SLOTS = ("genemamba_label", "genemamba_confidence", "genemamba_distance")
pytestmark = pytest.mark.filterwarnings("ignore:fewer than 5 labelled cells")


@pytest.fixture(scope="module")
def _embedded(_pbmc: AnnData) -> AnnData:
    return gm.tl.embed(_pbmc, copy=True)


@pytest.fixture
def pbmc(_embedded: AnnData) -> AnnData:
    """Real cells with their embedding, which takes a while to make."""
    return _embedded.copy()


@pytest.fixture
def halves(pbmc: AnnData) -> tuple[AnnData, AnnData]:
    """Cells with labels, and others."""
    order = np.random.default_rng(0).permutation(pbmc.n_obs)
    return pbmc[order[:450]].copy(), pbmc[order[450:]].copy()


def few(halves: tuple[AnnData, AnnData]) -> list[AnnData]:
    """Return less of both, of three types: a probe is fitted to every fold."""
    common = halves[0].obs["bulk_labels"].value_counts().index[:3]
    return [half[half.obs["bulk_labels"].isin(common)][:60].copy() for half in halves]


def without_embedding(adata: AnnData) -> AnnData:
    return AnnData(adata.X, obs=adata.obs, var=adata.var)


def accuracy(adata: AnnData) -> float:
    found, truth = adata.obs["genemamba_label"].astype(str), adata.obs["bulk_labels"].astype(str)
    return float((found == truth).mean())


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
