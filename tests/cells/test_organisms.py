"""Cells of another organism are read through human orthologues; the record says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import genemamba as gm
from genemamba.compare.baselines import random_weights
from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.tokens.orthologues import Orthologues

HUMAN = {"name": "human", "table": "", "genes_without_orthologue": 0,
         "counts_without_orthologue": 0.0}  # fmt: skip


@pytest.fixture
def mouse(pbmc: AnnData) -> AnnData:
    """Cells on genes that have an orthologue of the same name, called as in the mouse."""
    table = Orthologues.load("mouse")
    same = [
        table.human_symbols.get(table.symbols.get(name.capitalize(), "")) == name
        for name in pbmc.var_names
    ]
    cells = pbmc[:60, same].copy()
    cells.X = sparse.csr_matrix(cells.X)
    cells.var["human"] = cells.var_names.to_numpy()
    cells.var_names = [name.capitalize() for name in cells.var_names]
    return cells


def test_mouse_cells_are_the_human_cells_that_they_are_called(
    mouse: AnnData, small_model: GeneMamba
) -> None:
    human = mouse.copy()
    human.var_names = human.var["human"].to_numpy()
    upper = human[:, :].copy()
    ids = {human: name for name, human in Orthologues.load("mouse").ids.items()}
    by_id = mouse.copy()
    by_id.var_names = [f"{ids[Orthologues.load('mouse').symbols[n]]}.4" for n in mouse.var_names]
    given: list[tuple[AnnData, dict[str, Any]]] = [
        (human, {}), (mouse, {}), (by_id, {}), (upper, {"organism": "mouse"})
    ]  # fmt: skip
    for cells, how in given:
        gm.tl.embed(cells, model=small_model, **how)
        np.testing.assert_array_equal(cells.obsm["X_genemamba"], human.obsm["X_genemamba"])
    records = [cells.uns["genemamba"]["X_genemamba"] for cells, _ in given]
    assert records[0]["organism"] == HUMAN
    assert [record["organism"]["name"] for record in records[1:]] == ["mouse"] * 3


def test_genes_are_named_as_in_the_data(mouse: AnnData, small_model: GeneMamba) -> None:
    human = mouse.copy()
    human.var_names = human.var["human"].to_numpy()
    tables, said = [], []
    for cells, names in (human, ["CD79A", ["CD3D", "CD3E"]]), (mouse, ["Cd79a", ["Cd3d", "cd3e"]]):
        gm.tl.perturb(cells, names, model=small_model, n_controls=3)
        record = cells.uns["genemamba"]["genemamba_perturb"]
        tables.append(record["table"].drop(columns="perturbation"))
        said.append([name for name in record["control_table"]["control"]])
    pd.testing.assert_frame_equal(*tables)
    assert [name.upper() for name in said[1]] == said[0] != said[1]
    assert {part for name in said[1] for part in name.split("+")} <= set(mouse.var_names)
    with pytest.raises(InputError, match=r"'Cd3x' is not a gene of the model\n.*did you mean 'C"):
        gm.tl.perturb(mouse, "Cd3x", model=small_model)


def test_genes_of_raw_are_found_though_they_were_renamed(
    mouse: AnnData, small_model: GeneMamba
) -> None:
    ids = {human: name for name, human in Orthologues.load("mouse").ids.items()}
    renamed = mouse[:20].copy()
    renamed.raw = renamed.copy()
    renamed.var_names = [ids[Orthologues.load("mouse").symbols[n]] for n in mouse.var_names]
    gm.tl.attribute(renamed, layer="raw", model=small_model, method="gradient_x_input")
    here = mouse[:20].copy()
    gm.tl.attribute(here, model=small_model, method="gradient_x_input")
    np.testing.assert_allclose(
        renamed.layers["genemamba_attribution"].toarray(),
        here.layers["genemamba_attribution"].toarray(),
    )


def test_the_record_counts_what_has_no_orthologue(
    mouse: AnnData, small_model: GeneMamba, tmp_path: Path
) -> None:
    names = mouse.var_names.tolist()
    names[:3] = ["Gm42418", "Gm10076", "AY036118"]
    mouse.var_names = names
    gm.tl.embed(mouse, model=small_model)
    found = mouse.uns["genemamba"]["X_genemamba"]["organism"]
    lost = mouse.X[:, :3].sum(axis=1) / mouse.X.sum(axis=1)
    assert found["genes_without_orthologue"] == 3
    assert found["counts_without_orthologue"] == pytest.approx(float(np.mean(lost)))
    assert found["table"].startswith("Ensembl BioMart and HCOP")
    mouse.write_h5ad(tmp_path / "mouse.h5ad")
    back = ad.read_h5ad(tmp_path / "mouse.h5ad")
    assert dict(back.uns["genemamba"]["X_genemamba"]["organism"]) == found
    gm.tl.embed(tmp_path / "mouse.h5ad", out=tmp_path / "mouse.zarr", model=small_model)
    stored = ad.read_zarr(tmp_path / "mouse.zarr").uns["genemamba"]["X_genemamba"]["organism"]
    assert dict(stored) == pytest.approx(found)


def test_genes_of_several_orthologues_are_counted_apart(
    mouse: AnnData, small_model: GeneMamba
) -> None:
    names = mouse.var_names.tolist()
    names[:4] = ["Gm42418", "H2-K1", "ENSMUSG00000016559.2", "H2-D1-1"]
    mouse.var_names = names
    gm.tl.embed(mouse, model=small_model)
    found = mouse.uns["genemamba"]["X_genemamba"]["organism"]
    X = mouse.X.toarray()
    share = (X[:, :4] / X.sum(axis=1, keepdims=True)).mean(axis=0)
    assert (found["genes_without_orthologue"], found["genes_one_to_many"]) == (1, 3)
    assert found["counts_without_orthologue"] == pytest.approx(float(share[0]))
    assert found["counts_one_to_many"] == pytest.approx(float(share[1:].sum()))
    report = gm.pp.check(mouse, model=small_model)
    assert report.organism == pytest.approx(found)
    told = report.rows()["organism"]
    assert told.startswith("mouse: 4 genes have no human gene as their one-to-one orthologue")
    assert "1 without a known orthologue" in told and "3 with several or a shared one" in told


def test_columns_that_are_no_genes_are_not_counted(mouse: AnnData, small_model: GeneMamba) -> None:
    names = mouse.var_names.tolist()
    names[:3] = ["H2-K1", "Gm42418", "H2-D1"]
    mouse.var_names = names
    mouse.var["feature_types"] = ["Antibody Capture", *["Gene Expression"] * (mouse.n_vars - 1)]
    found = gm.pp.check(mouse, model=small_model).organism
    assert (found["genes_without_orthologue"], found["genes_one_to_many"]) == (1, 1)


def test_what_is_not_known_is_not_recorded(mouse: AnnData, small_model: GeneMamba) -> None:
    mouse.var_names = ["H2-K1", *mouse.var["human"][1:]]
    gm.tl.embed(mouse, model=small_model, organism="pig")
    found = mouse.uns["genemamba"]["X_genemamba"]["organism"]
    assert set(found) == set(HUMAN)
    assert found["genes_without_orthologue"] >= 1
    assert "shared" not in gm.pp.check(mouse, model=small_model, organism="pig").rows()["organism"]


def test_two_genes_that_lead_to_one_are_added(mouse: AnnData, small_model: GeneMamba) -> None:
    twice = ad.concat([mouse, mouse[:, :1]], axis=1, merge="same")
    twice.var_names = [*mouse.var_names, f"{mouse.var_names[0]}-1"]
    double = mouse.copy()
    double.X = sparse.csr_matrix(double.X.toarray() * np.where(np.arange(mouse.n_vars) == 0, 2, 1))
    for cells in (twice, double):
        gm.tl.embed(cells, model=small_model)
    np.testing.assert_array_equal(twice.obsm["X_genemamba"], double.obsm["X_genemamba"])


def test_the_call_that_splits_two_genomes_works(mouse: AnnData, small_model: GeneMamba) -> None:
    human = mouse.copy()
    human.var_names = "GRCh38_" + human.var["human"].to_numpy(str)
    mouse.var_names = "mm10___" + mouse.var_names.to_numpy(str)
    mouse.obs_names = "mouse" + mouse.obs_names
    adata = ad.concat([human, mouse[:20]], join="outer", fill_value=0)
    with pytest.raises(InputError, match=r"of human .* and .* of mouse") as refused:
        gm.tl.embed(adata, model=small_model)
    call = refused.value.fix.removeprefix("split them: ").split("; and the same")[0]
    scope: dict[str, Any] = {"adata": adata, "np": np}
    exec(call, scope)
    assert scope["adata"].n_obs == 60
    gm.tl.embed(scope["adata"], model=small_model)
    exec(call.replace("GRCh38_", "mm10___"), scope | {"adata": adata})


@pytest.mark.parametrize(
    ("organism", "names", "problem"),
    [("human", "mouse", "are mouse genes"), ("mouse", "ids", "are human genes")],
)
def test_nothing_is_written_if_the_names_contradict(
    pbmc: AnnData, organism: Any, names: str, problem: str
) -> None:
    ids = gm.models.vocabulary("genemamba-mini").ensembl_id[: pbmc.n_vars]
    pbmc.var_names = [n.capitalize() for n in pbmc.var_names] if names == "mouse" else ids
    for call in (gm.tl.embed, gm.tl.annotate, gm.pp.rank_tokenize):
        with pytest.raises(InputError, match=problem):
            call(pbmc, organism=organism)
    assert not pbmc.obsm and not pbmc.uns
    assert problem in gm.pp.check(pbmc, organism=organism).problem


def test_human_cells_name_mouse_cells(
    pbmc: AnnData, mouse: AnnData, small_model: GeneMamba
) -> None:
    mouse.obs = mouse.obs[[]]
    gm.tl.annotate(
        mouse, reference=pbmc[60:260].copy(), label_key="bulk_labels", method="knn",
        unknown=False, model=small_model,
    )  # fmt: skip
    assert mouse.uns["genemamba"]["X_genemamba"]["organism"]["name"] == "mouse"
    assert set(mouse.obs["genemamba_label"]) <= set(pbmc.obs["bulk_labels"])


def test_random_weights_read_the_same_genes(mouse: AnnData, small_model: GeneMamba) -> None:
    mouse.var_names = mouse.var["human"].to_numpy()
    gm.tl.embed(mouse, organism="mouse", model=small_model)
    entry = mouse.uns["genemamba"]["X_genemamba"]
    random_weights(mouse, small_model, entry, layer=None, seed=0)  # raises if genes are others
