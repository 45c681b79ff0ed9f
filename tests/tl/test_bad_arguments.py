"""Arguments of wrong types are refused in our words before anything is written, by every tool."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

import genemamba as gm
from genemamba.errors import InputError
from genemamba.maps.reference_map import ReferenceMap
from genemamba.network import GeneMamba

NEEDED: dict[str, dict[str, Any]] = {
    "embed": {},
    "annotate": {"label_key": "part", "method": "knn"},
    "integrate": {"batch_key": "batch"},
    "perturb": {"genes": "CD3D", "n_controls": 0},
    "attribute": {"groupby": "bulk_labels"},
    "reconstruct": {"n_cells": 5},
    "gene_embedding": {"kind": "context"},
    "map": {},
    "search": {},
    "build_map": {"label_key": "bulk_labels"},
    "adapt": {"steps": 1},
}
RECORDED = [t for t in NEEDED if t not in ("search", "build_map", "adapt")]
WRONG: dict[str, list[Any]] = {
    "max_tokens": [2.5, "2048", None, 0, True, np.float64(3)],
    "layer": [["raw"], 5],
    "gene_ids": [5],
    "organism": ["zebrafish", "Mouse", None, 5],
    "batch_size": [0, 2.5, "8", True, None],
    "device": ["gpu", 5, None],
    "precision": ["half", None],
    "backend": ["jax", None],
    "rng": [-1, "a", 1.5, None, True],
    "key_added": [None, 5, ""],
    "model": [None, 5],
    "mod": ["rna"],
    "coverage": ["0.9", 0, 1.0, True],
    "n_controls": [2.5, "3", -1],
    "control_cells": [None, 0],
    "genes": [None, 5, [1], [None], [["CD3D", 3]]],
    "groups": [[], 5],
    "steps": ["a", 0, 1.5],
    "minutes": ["5", 0, -1, None, True, float("nan")],
    "mask_fraction": ["a", 0, 1],
    "n_cells": [True, 0, 1.5],
    "protocol": [["masked"], "none"],
    "reference_map": [None, 5, ["genemamba-body"]],
    "k": [0, 2.5, "3", True, None, 351],
    "exclude": ["batch", 5, {"batch": "z"}, {"batch": None}, {"depth": "3"}, {5: "a"}],
    "keep": ["batch", None, 5, [5], ["nowhere"], {"batch": 1}, ["quality"], ["a/b"]],
    "label_key": [5, "", ["bulk_labels"], "nowhere"],
}


@pytest.fixture
def cells(pbmc: AnnData) -> AnnData:
    adata = pbmc[:60].copy()
    adata.obs["part"] = adata.obs["bulk_labels"].astype(object).where(np.arange(60) % 2 > 0)
    return adata


@pytest.fixture
def needed(small_map: ReferenceMap, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Give what a tool needs."""
    further = {"map": {"reference_map": small_map}, "search": {"reference_map": small_map},
               "build_map": {"out": tmp_path / "map"},
               "adapt": {"out": tmp_path / "out"}}  # fmt: skip
    return lambda tool: NEEDED[tool] | further.get(tool, {})


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("tool", NEEDED)
def test_wrong_types_are_refused(
    cells: AnnData, small_model: GeneMamba, needed: Any, tool: str, name: str, tmp_path: Path
) -> None:
    call = getattr(gm.tl, tool)
    if name not in call.__annotations__:
        return
    if name == "label_key" and tool != "build_map":
        return  # an array of labels, too
    before = [list(getattr(cells, slot)) for slot in ("obs", "var", "obsm", "varm", "uns")]
    for value in WRONG[name]:
        given = {"model": small_model, **needed(tool), name: value}
        given |= {"groupby": "bulk_labels"} if name == "groups" else {}
        with pytest.raises(InputError, match=rf"{name}|'rna'"):
            call(cells, **given)
        after = [list(getattr(cells, slot)) for slot in ("obs", "var", "obsm", "varm", "uns")]
        assert after == before, value
        assert not list(tmp_path.iterdir()), value


@pytest.mark.parametrize("tool", RECORDED)
def test_numbers_and_devices_of_libraries_are_taken(
    cells: AnnData, small_model: GeneMamba, needed: Any, tool: str
) -> None:
    call = getattr(gm.tl, tool)
    given: dict[str, Any] = {
        "max_tokens": np.int64(50), "batch_size": np.int32(8), "rng": np.int64(3),
        "device": torch.device("cpu"),
    }  # fmt: skip
    given = {k: v for k, v in given.items() if k in call.__annotations__}
    call(cells, model=small_model, **needed(tool), **given)
    entry = next(iter(cells.uns["genemamba"].values()))
    assert entry["params"].get("rng", 3) == 3
    assert type(entry["params"]["max_tokens"]) is int


@pytest.mark.parametrize(
    "tool", [t for t in RECORDED if t not in ("annotate", "reconstruct", "map")]
)
def test_where_another_tool_writes_nothing_is_written(
    cells: AnnData, small_model: GeneMamba, tool: str
) -> None:
    other = "X_genemamba_integrated" if tool == "embed" else "X_genemamba"
    with pytest.raises(InputError, match="another tool writes"):
        getattr(gm.tl, tool)(cells, model=small_model, **NEEDED[tool], key_added=other)
    assert not cells.obsm and not cells.uns


def test_integrated_vectors_are_no_embedding(cells: AnnData, small_model: GeneMamba) -> None:
    """As an earlier version could write them."""
    gm.tl.integrate(cells, "batch", model=small_model)
    cells.obsm["X_genemamba"] = cells.obsm["X_genemamba_integrated"]
    cells.uns["genemamba"]["X_genemamba"] = cells.uns["genemamba"]["X_genemamba_integrated"]
    gm.tl.annotate(cells, label_key="part", method="knn", model=small_model)
    assert not cells.uns["genemamba"]["annotate"]["embedding_reused"]


def test_a_classifier_of_another_model_that_was_never_saved(
    cells: AnnData, small_model: GeneMamba, tmp_path: Path
) -> None:
    one, same, other = (copy.deepcopy(small_model) for _ in range(3))
    other.reset_parameters(5)
    for model in (one, same, other):
        model.provenance = {"name": "mine"}
    bare = AnnData(cells.X, obs=cells.obs, var=cells.var)
    gm.tl.annotate(cells, label_key="part", method="knn", model=one, folder=tmp_path)
    gm.tl.annotate(bare, reference=tmp_path, model=same)
    del bare.obsm["X_genemamba"], bare.uns["genemamba"]
    with pytest.raises(InputError, match="another model"):
        gm.tl.annotate(bare, reference=tmp_path, model=other)


def test_a_kept_class_that_is_called_unknown(
    cells: AnnData, small_model: GeneMamba, tmp_path: Path
) -> None:
    cells.obs["part"] = cells.obs["part"].replace("Dendritic", "unknown")
    bare = AnnData(cells.X, obs=cells.obs[[]], var=cells.var)
    how: dict[str, Any] = {"model": small_model, "unknown": False}
    gm.tl.annotate(cells, label_key="part", method="knn", folder=tmp_path, **how)
    with pytest.raises(InputError, match="'unknown' is one of the labels"):
        gm.tl.annotate(bare, reference=tmp_path, model=small_model)
    assert not bare.obsm and not bare.uns and not list(bare.obs)
    gm.tl.annotate(bare, reference=tmp_path, **how)


def test_batch_key_without_labels(cells: AnnData) -> None:
    with pytest.raises(InputError, match="batch_key='batch', but there are no labels"):
        gm.tl.annotate(cells, batch_key="batch")
    assert not cells.obsm and not cells.uns


def test_only_labelled_cells_need_a_batch(cells: AnnData, small_model: GeneMamba) -> None:
    cells.obs["donor"] = cells.obs["batch"].astype(object).where(cells.obs["part"].notna())
    cells.obs.loc[cells.obs_names[1::4], "donor"] = "c"
    gm.tl.annotate(cells, label_key="part", batch_key="donor", method="knn", model=small_model)
    cells.obs.loc[cells.obs_names[1], "donor"] = None
    with pytest.raises(InputError, match="missing"):
        gm.tl.annotate(cells, label_key="part", batch_key="donor", method="knn", model=small_model)


def test_raw_genes_that_were_renamed(pbmc: AnnData, small_model: GeneMamba) -> None:
    cells = pbmc[:30].copy()
    cells.raw = cells
    assert small_model.vocab is not None
    ids = dict(zip(small_model.vocab.symbol, small_model.vocab.ensembl_id, strict=True))
    renamed = cells.copy()
    renamed.var_names = [ids.get(name, name) for name in renamed.var_names]
    how: dict[str, Any] = {"layer": "raw", "model": small_model}
    for adata in (cells, renamed):
        gm.tl.attribute(adata, method="gradient_x_input", **how)
        gm.tl.gene_embedding(adata, kind="context", **how)
    a, b = (x.layers["genemamba_attribution"].toarray() for x in (cells, renamed))
    assert np.count_nonzero(a) > 1000
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(cells.varm["X_genemamba_gene"], renamed.varm["X_genemamba_gene"])
    renamed.var_names = [*renamed.var_names[:1], *renamed.var_names[:-1]]
    gm.tl.attribute(renamed, method="gradient_x_input", **how)


def test_a_target_or_a_state_without_genes(cells: AnnData, small_model: GeneMamba) -> None:
    cells.obs["state"] = np.repeat(["a", "b", "t"], 20)
    how: dict[str, Any] = {"groupby": "state", "target": "t", "n_controls": 0}
    empty = cells.copy()
    empty.X[40:] = 0
    with pytest.raises(InputError, match="no cell of the target state 't'"):
        gm.tl.perturb(empty, "CD3D", model=small_model, **how)
    assert not empty.obsm and not empty.uns
    cells.X[20:40] = 0
    gm.tl.perturb(cells, "CD3D", model=small_model, **how)
    table = cells.uns["genemamba"]["genemamba_perturb"]["table"]
    assert np.isfinite(table.set_index("group").loc["a", "towards"])


@pytest.mark.parametrize("values", [[1j] * 60, [["a"]] * 60])
def test_labels_that_are_no_names(cells: AnnData, values: list[Any]) -> None:
    cells.obs["odd"] = pd.Series(values, index=cells.obs_names)
    with pytest.raises(InputError, match="no names"):
        gm.tl.annotate(cells, label_key="odd")


def test_categories_of_measurements(cells: AnnData) -> None:
    cells.obs["share"] = pd.Categorical(np.arange(60) % 3 / 3)
    with pytest.raises(InputError, match="fractions"):
        gm.tl.annotate(cells, label_key="share")


def test_a_store_that_cannot_be_made(cells: AnnData, small_model: GeneMamba) -> None:
    with pytest.raises(InputError, match="cannot be made"):
        gm.tl.embed(cells, model=small_model, out="/proc/genemamba/x.zarr")
    with pytest.raises(InputError, match="out=5 is not a path"):
        gm.tl.embed(cells, model=small_model, out=5)  # type: ignore[arg-type]


def test_genes_and_groups_in_any_kind_of_list(cells: AnnData, small_model: GeneMamba) -> None:
    states = cells.obs["bulk_labels"].unique()[:2].to_numpy(str)
    how: dict[str, Any] = {"groupby": "bulk_labels", "n_controls": 0, "model": small_model}
    gm.tl.perturb(cells, (name for name in ("CD3D", "LYZ")), groups=states, **how)
    table = cells.uns["genemamba"]["genemamba_perturb"]["table"]
    assert set(table["perturbation"]) == {"CD3D", "LYZ"}
    assert set(table["group"]) == set(states)
