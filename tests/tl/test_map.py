from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba._files import sha256
from genemamba.errors import GeneMambaWarning, InputError, MapError
from genemamba.maps.held_out import BELONGS
from genemamba.maps.reference_map import ReferenceMap
from genemamba.network import GeneMamba

pytestmark = pytest.mark.usefixtures("no_umap")


@pytest.fixture
def query(pbmc: AnnData) -> AnnData:
    """Forty cells that are not on the map."""
    return pbmc[1:81:2].copy()


def test_what_is_written(query: AnnData, small_map: ReferenceMap, small_model: GeneMamba) -> None:
    assert gm.tl.map(query, small_map, model=small_model) is None
    obs, start = query.obs, "genemamba_map_"
    assert list(obs)[2:] == [start + name for name in (
        "quality", "label", "confidence", "batch", "batch_confidence", "depth")]  # fmt: skip
    known = {*small_map.columns.values("bulk_labels"), "unknown"}
    assert {*obs[start + "label"].cat.categories} <= known
    unlike = obs[start + "quality"] < BELONGS
    assert ((obs[start + "label"] == "unknown") == unlike).all()
    for name in ("quality", "confidence", "batch_confidence", "depth"):
        assert obs[start + name].dtype == np.float32
    assert obs[start + "confidence"].between(0, 1).all()
    near, distance = query.obsm[start + "neighbors"], query.obsm[start + "distances"]
    assert (near.shape, near.dtype, distance.dtype) == ((40, 30), np.int64, np.float32)
    assert (np.diff(distance, axis=1) >= 0).all()
    assert query.obsm["X_umap_reference"].shape == (40, 2)
    low, high = small_map.columns.numbers("depth").min(), small_map.columns.numbers("depth").max()
    assert obs[start + "depth"].between(low, high).all()
    entry = query.uns["genemamba"]["map"]
    assert entry["map"] == "blood" and entry["map_sha256"] == small_map.sha256
    assert entry["cells_that_do_not_belong"] == unlike.sum()
    assert len(query.uns[start + "label_colors"]) == len(obs[start + "label"].cat.categories)
    right = (obs[start + "label"].astype(str) == obs["bulk_labels"].astype(str))[~unlike]
    assert right.mean() > 0.5


def test_twice_copied_and_in_a_modality(
    query: AnnData, small_map: ReferenceMap, small_model: GeneMamba
) -> None:
    import mudata

    copied = gm.tl.map(query, small_map.folder, model=small_model, copy=True)
    assert not query.obsm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        both = mudata.MuData({"rna": query.copy()})
    gm.tl.map(both, small_map, model=small_model)
    gm.tl.map(query, small_map, model=small_model)
    for other in (copied, both["rna"]):
        assert other is not None
        for slot, values in query.obsm.items():
            assert other.obsm[slot].tobytes() == values.tobytes()
        pd.testing.assert_frame_equal(other.obs, query.obs)


def test_alone_as_among_others(
    query: AnnData, small_map: ReferenceMap, small_model: GeneMamba
) -> None:
    gm.tl.map(query, small_map, model=small_model)
    for cell in (0, 17, 39):
        alone = query[[cell]].copy()
        alone = AnnData(alone.X, obs=alone.obs[["batch"]], var=alone.var)
        gm.tl.map(alone, small_map, model=small_model)
        np.testing.assert_allclose(
            alone.obsm["genemamba_map_distances"], query.obsm["genemamba_map_distances"][[cell]],
            rtol=1e-3,
        )  # fmt: skip
        assert (
            alone.obs["genemamba_map_label"].iloc[0] == query.obs["genemamba_map_label"].iloc[cell]
        )
        same = np.isin(alone.obsm["genemamba_map_neighbors"],
                       query.obsm["genemamba_map_neighbors"][cell])  # fmt: skip
        assert same.mean() > 0.95


def test_quality_and_place_read_as_many_cells_whatever_k(
    query: AnnData, small_map: ReferenceMap, small_model: GeneMamba
) -> None:
    gm.tl.map(query, small_map, model=small_model)
    gm.tl.map(query, small_map, model=small_model, k=1, key_added="one")
    same = query.obs["one_quality"] == query.obs["genemamba_map_quality"]
    assert same.mean() > 0.8  # but for those that get another label
    np.testing.assert_array_equal(query.obsm["one_umap"], query.obsm["X_umap_reference"])
    assert query.obsm["one_neighbors"].shape == (40, 1)
    assert "map_one" in query.uns["genemamba"]


def test_a_cell_without_a_known_gene(
    query: AnnData, small_map: ReferenceMap, small_model: GeneMamba
) -> None:
    query.X[3] = 0
    gm.tl.map(query, small_map, model=small_model)
    row = query.obs.iloc[3]
    assert row[[c for c in query.obs if c.startswith("genemamba")]].isna().all()
    assert (query.obsm["genemamba_map_neighbors"][3] == -1).all()
    for slot in ("X_umap_reference", "genemamba_map_distances"):
        assert np.isnan(query.obsm[slot][3]).all()
        assert np.isfinite(np.delete(query.obsm[slot], 3, axis=0)).all()
    query.X[:] = 0
    with pytest.raises(InputError, match="no value above zero"):
        gm.tl.map(AnnData(query.X, var=query.var), small_map, model=small_model)


def test_correction_leaves_the_map_and_the_embedding_as_they_are(
    query: AnnData, small_map: ReferenceMap, small_model: GeneMamba
) -> None:
    before = {f.name: sha256(f) for f in small_map.folder.iterdir()}
    gm.tl.map(query, small_map, model=small_model)
    plain, X = query.obsm["genemamba_map_distances"].copy(), query.obsm["X_genemamba"].copy()
    gm.tl.map(query, small_map, model=small_model, correct=True, batch_key="batch")
    assert not np.array_equal(query.obsm["genemamba_map_distances"], plain)
    np.testing.assert_array_equal(query.obsm["X_genemamba"], X)
    assert query.uns["genemamba"]["map"]["params"]["correct"]
    assert before == {f.name: sha256(f) for f in small_map.folder.iterdir()}
    with pytest.raises(InputError, match="batch_key='batch' without correct"):
        gm.tl.map(query, small_map, model=small_model, batch_key="batch")


def test_a_map_of_another_model(query: AnnData, small_map: ReferenceMap) -> None:
    with pytest.raises(MapError, match="was made with the model unnamed") as refused:
        gm.tl.map(query, small_map)
    assert "the model that made it" in refused.value.fix
    assert not query.obsm and not query.uns


def test_a_panel_and_cells_that_do_not_belong(
    pbmc: AnnData, small_map: ReferenceMap, small_model: GeneMamba
) -> None:
    panel = pbmc[:30, :60].copy()
    with pytest.warns(GeneMambaWarning) as said:
        gm.tl.map(panel, small_map, model=small_model)
    texts = " ".join(str(w.message) for w in said)
    assert "are on genes that adata does not measure" in texts
    assert "do not belong on the map 'blood'" in texts
    assert {w.filename for w in said if w.category is GeneMambaWarning} == {__file__}
    assert panel.uns["genemamba"]["map"]["map_counts_not_measured"] > 0.5


def test_columns_of_an_earlier_map_go(
    query: AnnData, pbmc: AnnData, small_map: ReferenceMap, small_model: GeneMamba, tmp_path: Path
) -> None:
    pbmc.obs["tissue"] = pd.Series([None] * 700, index=pbmc.obs_names, dtype=object)
    bare = gm.tl.build_map(pbmc[:60].copy(), out=tmp_path / "m", model=small_model, keep=["tissue"])
    gm.tl.map(query, small_map, model=small_model)
    gm.tl.map(query, bare, model=small_model)
    assert list(query.obs)[2:] == ["genemamba_map_quality", "genemamba_map_tissue",
                                   "genemamba_map_tissue_confidence"]  # fmt: skip
    assert query.obs.iloc[:, -2:].isna().all(axis=None)  # no cell of the map has one
    assert list(query.uns) == ["genemamba"]
    query.obs["mine_quality"] = 1
    with pytest.raises(InputError, match=r"'mine_quality'.* was not written by genemamba"):
        gm.tl.map(query, bare, model=small_model, key_added="mine")
    with pytest.raises(InputError, match="has no labels, onto which"):
        gm.tl.map(query, bare, model=small_model, correct=True)


def test_no_label_where_no_neighbour_has_one(
    query: AnnData, pbmc: AnnData, small_model: GeneMamba, tmp_path: Path
) -> None:
    some = pbmc[:60].copy()
    labels = some.obs["bulk_labels"].astype(object)
    some.obs["few"] = pd.Categorical(labels.where(np.arange(60) < 3))
    found = gm.tl.build_map(some, out=tmp_path / "m", label_key="few", model=small_model)
    gm.tl.map(query, found, model=small_model, k=2)
    near = query.obsm["genemamba_map_neighbors"]
    nameless = (found.columns.codes("few")[near] < 0).all(axis=1)
    assert nameless.any()
    assert query.obs["genemamba_map_confidence"].isna().to_numpy()[nameless].all()
    label = query.obs["genemamba_map_label"][nameless]
    assert (label.isna() | (label == "unknown")).all()


def test_a_gene_in_two_columns_is_one(
    query: AnnData, small_map: ReferenceMap, small_model: GeneMamba
) -> None:
    half = query.X[:, :200] // 2
    two = AnnData(np.hstack([half, query.X[:, :200] - half, query.X[:, 200:]]), obs=query.obs)
    two.var_names = [*small_model.vocab.ensembl_id[:200], *query.var_names]
    with pytest.warns(GeneMambaWarning, match="one gene are added"):
        gm.tl.map(two, small_map, model=small_model)
    gm.tl.map(query, small_map, model=small_model)
    np.testing.assert_allclose(two.obsm["genemamba_map_distances"],
                               query.obsm["genemamba_map_distances"], rtol=1e-3)  # fmt: skip


def test_lazy_cells(query: AnnData, small_map: ReferenceMap, small_model: GeneMamba,
                    tmp_path: Path) -> None:  # fmt: skip
    import anndata as ad

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Writing zarr v2")
        query.write_zarr(tmp_path / "cells.zarr")
    lazy = ad.experimental.read_lazy(tmp_path / "cells.zarr")
    gm.tl.map(lazy, small_map, model=small_model)
    gm.tl.map(query, small_map, model=small_model)
    np.testing.assert_allclose(lazy.obsm["genemamba_map_distances"],
                               query.obsm["genemamba_map_distances"], rtol=1e-3)  # fmt: skip
