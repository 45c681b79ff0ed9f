from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.spatial.distance import cosine, euclidean

import genemamba as gm
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.network import GeneMamba
from genemamba.tl import _edited

GENES = ["CD79A", ["CD3D", "CD3E"]]
FEW = {"n_controls": 5, "control_cells": 4}


@pytest.fixture
def cells(pbmc: AnnData) -> AnnData:
    """Sixty cells of three states, ten of them of none."""
    cells = pbmc[:60].copy()
    kinds = np.resize(["T", "B", "mono"], 60).astype(object)
    kinds[50:] = None
    cells.obs["kind"] = kinds
    return cells


def vectors(adata: AnnData, model: GeneMamba, **options: object) -> np.ndarray:
    embedded = gm.tl.embed(adata, model=model, precision="float32", copy=True, **options)
    return embedded.obsm["X_genemamba"].astype(float)


def shifts(adata: AnnData, name: str, measure: str = "cosine") -> np.ndarray:
    names = adata.uns["genemamba"]["genemamba_perturb"]["perturbations"].tolist()
    return adata.obsm[f"genemamba_perturb_{measure}"][:, names.index(name)]


def expressed(adata: AnnData, gene: str) -> np.ndarray:
    return np.asarray(adata[:, gene].X).ravel() > 0


@pytest.mark.parametrize("max_tokens", [2048, 60])
def test_a_deletion_is_as_if_the_gene_had_not_been_measured(cells, small_model, max_tokens):
    gm.tl.perturb(cells, GENES, model=small_model, max_tokens=max_tokens, n_controls=0)
    before = vectors(cells, small_model, max_tokens=max_tokens)
    for name, members in (("CD79A", ["CD79A"]), ("CD3D+CD3E", ["CD3D", "CD3E"])):
        without = cells[:, ~cells.var_names.isin(members)].copy()
        after = vectors(without, small_model, max_tokens=max_tokens)
        for measure, distance in (("cosine", cosine), ("euclidean", euclidean)):
            expected = [distance(a, b) for a, b in zip(before, after, strict=True)]
            found = shifts(cells, name, measure)
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-8)
        any_of_them = np.any([expressed(cells, m) for m in members], axis=0)
        assert (found[~any_of_them] == 0).all()
        assert max_tokens < 2048 or (found[any_of_them] > 0).all()


def test_overexpressed_comes_first(cells, small_model):
    gm.tl.perturb(cells, "CD79A", how="overexpress", model=small_model, n_controls=0)
    first = cells.copy()
    first.X[:, cells.var_names == "CD79A"] = 1_000_000
    expected = np.linalg.norm(vectors(first, small_model) - vectors(cells, small_model), axis=1)
    found = shifts(cells, "CD79A", "euclidean")
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)
    with pytest.warns(GeneMambaWarning, match="CD79A: it comes first in every cell"):
        gm.tl.perturb(first, "CD79A", how="overexpress", model=small_model)
    assert (shifts(first, "CD79A", "euclidean") == 0).all()


def test_the_table_by_hand(cells, small_model):
    gm.tl.perturb(cells, GENES, groupby="kind", target="B", model=small_model, **FEW)
    table = cells.uns["genemamba"]["genemamba_perturb"]["table"]
    controls = cells.uns["genemamba"]["genemamba_perturb"]["control_table"]
    assert table[["perturbation", "group"]].to_numpy().tolist() == [
        [name, group] for name in ("CD79A", "CD3D+CD3E") for group in ("B", "T", "mono")
    ]
    before = vectors(cells, small_model)
    kind = cells.obs["kind"].to_numpy()
    mean = {k: before[kind == k].mean(axis=0) for k in ("B", "T", "mono")}
    mean["rest"] = before[(kind == "T") | (kind == "mono")].mean(axis=0)
    without = cells[:, cells.var_names != "CD79A"].copy()
    after = vectors(without, small_model)
    for row in table[table["perturbation"] == "CD79A"].itertuples():
        source, target = mean["rest" if row.group == "B" else row.group], mean["B"]
        chosen = np.flatnonzero((kind == row.group) & expressed(cells, "CD79A"))
        assert (row.cells, row.changed) == ((kind == row.group).sum(), len(chosen))
        way = target - source
        towards, score = [], []
        for i in chosen:
            towards.append(1 - cosine(after[i] - before[i], way))
            nearer = [euclidean(x, source) - euclidean(x, target) for x in (before[i], after[i])]
            score.append((nearer[1] - nearer[0]) / np.linalg.norm(way))
        if len(chosen):
            assert row.towards == pytest.approx(np.mean(towards), abs=2e-3)
            assert row.score == pytest.approx(np.mean(score), rel=5e-3, abs=1e-6)
        own = controls[(controls["perturbation"] == "CD79A") & (controls["group"] == row.group)]
        assert len(own) == row.controls == (5 if len(chosen) else 0)
        assert not own["control"].isin(["CD79A"]).any()
        assert row.tested == min(4, len(chosen))
        assert (own["tested"] == row.tested).all()
        if len(chosen):
            assert row.cosine_controls == pytest.approx(own["cosine"].mean())
    gm.tl.perturb(cells, "CD79A", model=small_model, key_added="one", **FEW)
    one = cells.uns["genemamba"]["one"]
    (row,) = one["table"].itertuples()
    as_large = (one["control_table"]["cosine"] >= row.cosine_tested).sum()
    assert row.p_shift == (1 + as_large) / 6  # of one row, the rank among its own controls


def same_genes(cells: AnnData, how: str, model: GeneMamba) -> pd.DataFrame:
    """Five genes that all cells express, against each other."""
    cells = cells[:, :6].copy()
    cells.X = np.random.default_rng(0).integers(1, 1000, cells.shape)
    genes = cells.var_names[:5].tolist()
    gm.tl.perturb(cells, genes, how=how, model=model, n_controls=9, control_cells=7)
    return cells.uns["genemamba"]["genemamba_perturb"]


@pytest.mark.parametrize("how", ["delete", "overexpress"])
def test_gene_and_controls_are_compared_in_the_same_cells(cells, small_model, how):
    entry = same_genes(cells, how, small_model)
    table = entry["table"].set_index("perturbation")
    assert (table["tested"] == 7).all() and (entry["control_table"]["tested"] == 7).all()
    for row in entry["control_table"].itertuples():
        if row.control in table.index:
            own = table.loc[row.control, "cosine_tested"]
            assert row.cosine == pytest.approx(own, rel=2e-3, abs=1e-9)


def test_a_rare_gene_is_not_compared_with_rarer_ones(cells, small_model):
    options = {"groupby": "kind", "model": small_model, "n_controls": 30, "control_cells": 5}
    gm.tl.perturb(cells, ["CD79A", "CD3D", ("CD3D", "MS4A1")], **options)
    entry = cells.uns["genemamba"]["genemamba_perturb"]
    assert (entry["table"]["tested"] == entry["table"]["changed"].clip(upper=5)).all()
    for row in entry["table"].itertuples():
        own = entry["control_table"].query(
            "perturbation == @row.perturbation and group == @row.group"
        )
        assert (own["tested"] == row.tested).all() and len(own) == row.controls > 20


def test_controls_are_edited_in_their_own_cells_only(cells, small_model, monkeypatch):
    edited = []
    real = _edited.delete

    def spy(ranked, genes, max_tokens):
        edited.append(ranked.n_cells)
        return real(ranked, genes, max_tokens)

    monkeypatch.setattr(_edited, "delete", spy)
    gm.tl.perturb(cells, "CD3D", model=small_model, n_controls=20, control_cells=3)
    own = cells.uns["genemamba"]["genemamba_perturb"]["table"]["changed"].sum()
    assert edited[0] == own < 60 and len(edited) == 21 and max(edited[1:]) == 3


def test_twenty_rows_reach_an_fdr_of_5_percent(cells, small_model):
    """One gene is made to matter; a hundred controls each are enough for twenty genes."""
    often = np.flatnonzero((cells.X > 0).sum(axis=0) >= 20)[:20]
    genes = cells.var_names[often].tolist()
    vocab = gm.models.vocabulary(small_model)
    weight = small_model.embeddings.weight.data
    weight[vocab.name_to_gene[genes[0]] + 2] *= 40
    kinds = np.repeat(["T", "B"], 30)
    cells.obs["kind"] = kinds
    options = {"groupby": "kind", "groups": ["T"], "target": "B", "control_cells": 8}
    gm.tl.perturb(cells, genes, model=small_model, **options)
    table = cells.uns["genemamba"]["genemamba_perturb"]["table"].set_index("perturbation")
    assert len(table) == 20 and table["fdr_shift"].idxmin() == genes[0]
    assert table.loc[genes[0], "fdr_shift"] < 0.05
    assert (table["fdr_shift"].drop(genes[0]) > 0.05).all()


@pytest.mark.parametrize(("how", "least"), [("delete", 3), ("overexpress", 15)])
def test_a_control_is_perturbed_as_the_gene_itself(cells, small_model, how, least):
    options = {"groupby": "kind", "model": small_model, "how": how}
    gm.tl.perturb(cells, GENES, target="T", n_controls=3, control_cells=60, **options)
    entry = cells.uns["genemamba"]["genemamba_perturb"]
    checked = 0
    for row in entry["control_table"].itertuples():
        genes = [row.control.split("+")]
        gm.tl.perturb(cells, genes, target="T", n_controls=0, key_added="own", **options)
        own = cells.uns["genemamba"]["own"]["table"].set_index("group").loc[row.group]
        if own["changed"] == row.tested:  # in all its cells
            checked += 1
            np.testing.assert_allclose(
                own[["cosine", "towards", "score"]].astype(float),
                [row.cosine, row.towards, row.score],
                rtol=2e-3, atol=1e-6,
            )  # fmt: skip
    assert checked >= least


def test_the_seed_decides_and_other_genes_do_not(cells, small_model):
    options = {"groupby": "kind", "model": small_model, **FEW}

    def rows(genes: list, rng: int) -> pd.DataFrame:
        done = gm.tl.perturb(cells, genes, rng=rng, copy=True, **options)
        table = done.uns["genemamba"]["genemamba_perturb"]["control_table"]
        return table[table["perturbation"] == "CD3D"].reset_index(drop=True)

    alone = rows(["CD3D"], 0)
    pd.testing.assert_frame_equal(rows(["CD3D"], 0), alone)
    beside = rows(["CD79A", "CD3D"], 0)
    assert beside["control"].tolist() == alone["control"].tolist()
    np.testing.assert_allclose(beside["cosine"], alone["cosine"], rtol=2e-3)
    assert not rows(["CD3D"], 1).equals(alone)
    assert not cells.obsm and not cells.uns


def test_a_gene_nobody_expresses_changes_nothing_and_says_so(cells, small_model):
    cells.X[:, cells.var_names == "CD79A"] = 0
    with pytest.warns(GeneMambaWarning, match="CD79A: no cell expresses it") as said:
        gm.tl.perturb(cells, ["CD79A", "CD3D"], groupby="kind", model=small_model, **FEW)
    assert [w.filename for w in said] == [__file__]
    assert (shifts(cells, "CD79A") == 0).all()
    assert (shifts(cells, "CD79A", "euclidean") == 0).all()
    table = cells.uns["genemamba"]["genemamba_perturb"]["table"]
    rows = table.set_index("perturbation").loc["CD79A"]
    assert (rows[["changed", "controls"]] == 0).all(axis=None)
    assert rows[["cosine", "p_shift", "fdr_shift"]].isna().all(axis=None)


def test_chosen_groups_and_cells_without_one(cells, small_model):
    gm.tl.perturb(cells, "CD3D", groupby="kind", target="B", groups=["T"], model=small_model,
                  n_controls=0)  # fmt: skip
    kind = cells.obs["kind"].to_numpy()
    asked = ~np.isnan(shifts(cells, "CD3D"))
    np.testing.assert_array_equal(asked, kind == "T")
    assert cells.uns["genemamba"]["genemamba_perturb"]["table"]["group"].tolist() == ["T"]
    gm.tl.perturb(cells, "CD3D", groupby="kind", model=small_model, n_controls=0)
    changed = shifts(cells, "CD3D") > 0
    np.testing.assert_array_equal(changed, expressed(cells, "CD3D"))


def test_cells_that_have_or_keep_no_gene(cells, small_model):
    cells.X[0] = 0
    cells.X[1] = 0
    cells.X[1, cells.var_names == "CD3D"] = 2
    gm.tl.perturb(cells, "CD3D", model=small_model, **FEW)
    shift = shifts(cells, "CD3D")
    assert np.flatnonzero(np.isnan(shift)).tolist() == [0, 1]
    row = cells.uns["genemamba"]["genemamba_perturb"]["table"].iloc[0]
    assert row["cells"] == 59
    assert np.isfinite(row["cosine"])


def test_it_survives_writing(cells, small_model, tmp_path: Path):
    gm.tl.perturb(cells, GENES, groupby="kind", target="B", model=small_model, **FEW)
    cells.write_h5ad(tmp_path / "a.h5ad")
    read = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(
        read.obsm["genemamba_perturb_cosine"], cells.obsm["genemamba_perturb_cosine"]
    )
    for name in ("table", "control_table"):
        pd.testing.assert_frame_equal(
            read.uns["genemamba"]["genemamba_perturb"][name],
            cells.uns["genemamba"]["genemamba_perturb"][name],
            check_dtype=False, check_index_type=False, check_column_type=False,
            check_categorical=False,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("genes", "options", "said"),
    [
        ("CD3", {}, "'CD3' is not a gene of the model(.|\n)*did you mean"),
        (["CD3D", "CD3EE"], {}, "did you mean 'CD3E'"),
        ([("CD3D", "CD3D")], {}, "are one gene"),
        (["CD3D", "CD3D"], {}, "is given twice"),
        ([], {}, "genes is empty"),
        ([()], {}, "empty set"),
        ("CD3D", {"how": "knockout"}, "how='knockout'"),
        ("CD3D", {"groupby": "donor"}, "groupby='donor' is not a column"),
        ("CD3D", {"target": "B"}, "groupby is missing"),
        ("CD3D", {"groupby": "kind", "target": "NK"}, "'NK' is not in"),
        ("CD3D", {"groupby": "kind", "groups": ["NK"]}, "'NK' is not in"),
        ("CD3D", {"groupby": "one", "target": "x"}, "already in the target state"),
        ("CD3D", {"n_controls": -1}, "n_controls=-1 is not"),
        ("CD3D", {"key_added": "mine"}, "mine_cosine"),
        ("CD3D", {"layer": "scaled"}, "layer='scaled'"),
        ("CD3D", {"pooling": "max"}, "pooling='max'"),
    ],
)
def test_refused_before_anything_is_written(cells, small_model, genes, options, said):
    cells.obs["one"] = "x"
    cells.obsm["mine_cosine"] = np.zeros((60, 1))
    with pytest.raises(InputError, match=said):
        gm.tl.perturb(cells, genes, model=small_model, **options)
    assert list(cells.obsm) == ["mine_cosine"]
    assert not cells.uns


@pytest.mark.parametrize("none", ["", "nan", " "])
def test_an_empty_state_is_none(cells, small_model, none):
    expected = gm.tl.perturb(
        cells, "CD3D", groupby="kind", model=small_model, n_controls=0, copy=True
    )
    cells.obs["kind"] = cells.obs["kind"].fillna(none)
    gm.tl.perturb(cells, "CD3D", groupby="kind", model=small_model, n_controls=0)
    tables = [a.uns["genemamba"]["genemamba_perturb"]["table"] for a in (cells, expected)]
    pd.testing.assert_frame_equal(*tables)
    gm.tl.attribute(cells, groupby="kind", model=small_model, method="gradient_x_input")
    assert list(cells.uns["genemamba"]["genemamba_attribution"]["groups"]) == ["B", "T", "mono"]


def test_a_first_answer_comes_on_the_way(cells, small_model, monkeypatch, capsys):
    monkeypatch.setattr("genemamba._progress._ESTIMATED_AFTER", -1.0)
    gm.tl.perturb(cells, ["CD3D", "CD3E"], model=small_model, n_controls=30, control_cells=3)
    said = [line for line in capsys.readouterr().err.splitlines() if "so far" in line]
    assert len(said) == 1 and "CD3D moves cells" in said[0] and "20 controls (p = " in said[0]
    gm.tl.perturb(cells, "CD3D", model=small_model, n_controls=20, key_added="genemamba_perturb2")
    assert "so far" not in capsys.readouterr().err
