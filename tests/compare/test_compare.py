from __future__ import annotations

import random
import re
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

import genemamba as gm
from genemamba.compare.scoreboard import SCORES, as_text, paired, winners
from genemamba.compare.trained import scvi_epochs
from genemamba.errors import InputError

PLAIN = ["pca", "hvg"]


@pytest.fixture
def cells(pbmc, small_model):
    """Real cells of four types with an embedding, and donors drawn at random."""
    common = pbmc.obs["bulk_labels"].value_counts().index[:4]
    kept = pbmc[pbmc.obs["bulk_labels"].isin(common)][:150].copy()
    kept.obs["donor"] = np.random.default_rng(0).choice(["d1", "d2", "d3"], kept.n_obs)
    gm.tl.embed(kept, model=small_model)
    return kept


def compare(adata, *args, **options):
    return gm.metrics.compare(adata, *args, **{"verbose": False, **options})


def log_normalised(adata):
    work = ad.AnnData(adata.X.astype(np.float32))
    sc.pp.normalize_total(work, target_sum=1e4)
    sc.pp.log1p(work)
    return work


def test_every_row_and_column(cells, small_model):
    before = small_model.embeddings.weight.detach().clone()
    table = compare(cells, "bulk_labels", batch_key="donor", model=small_model)
    assert list(table.index) == [
        "X_genemamba", "random weights", "Harmony", "PCA-50", "HVG", "expression (LR)",
    ]  # fmt: skip
    assert table["kind"].tolist() == ["zero-shot", "control"] + ["baseline"] * 4
    folded = ["macro_f1", "balanced_accuracy", "knn_accuracy"]
    scores = [*folded, *[f"{s}_sd" for s in folded], "avg_bio", "avg_batch", "bras", "ilisi"]
    assert list(table.columns) == ["kind", *scores, *[f"{s}_gap_sd" for s in folded]]
    only_classified = table.loc["expression (LR)", scores].isna()
    assert only_classified.to_numpy().tolist() == [False, False, True] * 2 + [True] * 4
    assert table.drop(index="expression (LR)").notna().all(axis=None)
    assert table.attrs["split"] == "leave one donor out"
    assert small_model.embeddings.weight.equal(before)


def test_scores_are_those_of_plain_code(cells):
    """Every fold of PCA and HVG by scanpy and scikit-learn directly."""
    table = compare(cells, "bulk_labels", batch_key="donor", baselines=PLAIN)
    work = log_normalised(cells)
    sc.pp.pca(work, n_comps=50, mask_var=None, random_state=0)
    y, donor = cells.obs["bulk_labels"].to_numpy(str), cells.obs["donor"].to_numpy()
    kept = {}
    for title, X in {"PCA-50": work.obsm["X_pca"], "HVG": np.asarray(work.X)}.items():
        folds = []
        for d in ("d1", "d2", "d3"):
            train, test = donor != d, donor == d
            scaler = StandardScaler().fit(X[train])
            linear = LogisticRegression(C=1, max_iter=1000).fit(
                scaler.transform(X[train]), y[train]
            )
            guess = linear.predict(scaler.transform(X[test]))
            knn = KNeighborsClassifier(15).fit(X[train], y[train])
            folds.append(
                {
                    "macro_f1": f1_score(
                        y[test], guess, average="macro", labels=np.unique(y[test])
                    ),
                    "balanced_accuracy": balanced_accuracy_score(y[test], guess),
                    "knn_accuracy": knn.score(X[test], y[test]),
                }
            )
        folds = pd.DataFrame(folds)
        for name in folds:
            assert table.loc[title, name] == pytest.approx(folds[name].mean(), abs=0.02)
            kept[title, name] = folds[name]
            assert table.loc[title, f"{name}_sd"] == pytest.approx(folds[name].std(), abs=0.02)
        assert table.loc[title, "avg_bio"] == pytest.approx(gm.metrics.avg_bio(X, y), abs=0.02)
        assert table.loc[title, "ilisi"] == pytest.approx(gm.metrics.ilisi(X, donor), abs=0.02)
    for name in folds:
        best = table[name].idxmax()
        if best in ("PCA-50", "HVG"):
            (other,) = {"PCA-50", "HVG"} - {best}
            gap = (kept[best, name] - kept[other, name]).std()
            assert table.loc[other, f"{name}_gap_sd"] == pytest.approx(gap, abs=0.02)
        assert table.loc[best, f"{name}_gap_sd"] == 0


def test_what_is_written_survives_a_file_and_is_all(cells, tmp_path):
    keys = {s: set(getattr(cells, s)) for s in ("obs", "var", "obsm", "obsp", "layers")}
    table = compare(cells, "bulk_labels", baselines=PLAIN)
    assert keys == {s: set(getattr(cells, s)) for s in keys}
    assert set(cells.uns) == {"genemamba"}
    assert set(cells.uns["genemamba"]) == {"X_genemamba", "compare"}
    cells.write_h5ad(tmp_path / "a.h5ad")
    entry = ad.read_h5ad(tmp_path / "a.h5ad").uns["genemamba"]["compare"]
    pd.testing.assert_frame_equal(entry["table"], table, check_names=False)
    assert entry["split"] == table.attrs["split"] == "5-fold stratified"
    assert entry["version"] == gm.__version__


def test_same_seed_same_table(cells):
    options = {"batch_key": "donor", "baselines": ["pca"]}
    once, twice = (compare(cells, "bulk_labels", **options) for _ in range(2))
    pd.testing.assert_frame_equal(once, twice)


def test_a_generator_is_a_seed(cells):
    drawn = int(np.random.default_rng(3).integers(2**31 - 1))
    once, twice = (
        compare(cells, "bulk_labels", baselines=["pca"], rng=rng)
        for rng in (drawn, np.random.default_rng(3))
    )
    pd.testing.assert_frame_equal(once, twice)


def test_components(cells):
    table = compare(cells, "bulk_labels", batch_key="donor", baselines=[], components=True)
    row = table.loc["X_genemamba"]
    assert row["avg_bio"] == pytest.approx(np.mean(row[["ari", "nmi", "asw_label"]].astype(float)))
    assert {"graph_connectivity", "asw_batch_within", "asw_batch_overall"} <= set(table)


def test_several_embeddings_and_what_they_have_seen(cells):
    records = cells.uns["genemamba"]
    for name in ("plain", "integrated", "in_sample", "held_out", "other_labels"):
        cells.obsm[name] = cells.obsm["X_genemamba"] + 0
        records[name] = dict(records["X_genemamba"])
    del records["plain"]
    records["integrated"]["params"] = {"batch_key": "donor"}
    seen = {"label_key": "bulk_labels", "cells": cells.obs_names[:9].to_numpy(str)}
    records["in_sample"]["label_tuned"] = seen
    records["held_out"]["label_tuned"] = {**seen, "cells": np.array(["elsewhere"])}
    records["other_labels"]["label_tuned"] = {**seen, "label_key": "fine"}
    names = ["X_genemamba", "plain", "integrated", "in_sample", "held_out", "other_labels"]
    table = compare(cells, "bulk_labels", use_rep=names, baselines=[])
    assert table["kind"].tolist() == [
        "zero-shot", "given", "unsupervised",
        "label-tuned, in-sample", "label-tuned", "label-tuned",
    ]  # fmt: skip


def scored(**rows):
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["kind", "macro_f1", "bras"])
    table["macro_f1_sd"] = table["macro_f1_gap_sd"] = 0.05
    return table


@pytest.mark.parametrize("n_folds", [2, 3, 10])
@pytest.mark.parametrize(("gap", "noise", "tied"), [(0.02, 0.001, False), (0.02, 0.1, True)])
def test_ties_are_judged_fold_by_fold(n_folds, gap, noise, tied):
    """Hard and easy folds spread all rows alike; that says nothing of their differences."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.3, 0.9, n_folds)
    wobble = noise * np.resize([1, -1], n_folds)
    folds = {name: pd.DataFrame({"macro_f1": f}) for name, f in
             (("model", hard), ("close", hard - gap + wobble - wobble.mean()),
              ("random", hard + 0.3))}  # fmt: skip
    table = pd.DataFrame(
        {"kind": ["zero-shot", "baseline", "control"],
         "macro_f1": [f["macro_f1"].mean() for f in folds.values()]}, index=list(folds),
    )  # fmt: skip
    table = table.assign(**paired(table, folds))
    won = winners(table).loc["macro_f1"]
    assert won["won"] == "model" and won["tied"] == (["close"] if tied else [])
    assert won["higher, not ranked"] == ["random"]


def test_who_won(cells):
    table = scored(
        model=("zero-shot", 0.80, 0.5),
        close=("baseline", 0.76, 0.6),
        far=("baseline", 0.60, np.nan),
        tuned=("label-tuned, in-sample", 0.99, 0.4),
        random=("control", 0.20, 0.9),
    )
    won = winners(table)
    assert won["won"].to_dict() == {"macro_f1": "model", "bras": "close"}
    assert won["tied"].to_dict() == {"macro_f1": ["close"], "bras": []}
    assert won["higher, not ranked"].to_dict() == {"macro_f1": ["tuned"], "bras": ["random"]}
    text = as_text(table)
    assert "0.800 ± 0.050" in text
    said = "tied (within 1 SD of the paired difference): close; higher, not ranked: tuned"
    assert f"model 0.800; {said}" in text


def test_it_prints_unless_told_not_to(cells, capsys):
    compare(cells, "bulk_labels", baselines=PLAIN)
    assert capsys.readouterr().out == ""
    table = compare(cells, "bulk_labels", baselines=PLAIN, verbose=True)
    assert capsys.readouterr().out == as_text(table) + "\n"


def test_classes_that_training_cells_lack_are_named(cells):
    cells.obs["bulk_labels"] = cells.obs["bulk_labels"].astype(str)
    cells.obs.iloc[0, cells.obs.columns.get_loc("bulk_labels")] = "lone"
    table = compare(cells, "bulk_labels", split="donor", baselines=[])
    assert table.attrs["unseen"] == {cells.obs["donor"].iloc[0]: ["lone"]}
    assert "avg_batch" not in table
    stratified = compare(cells, "bulk_labels", baselines=[])
    assert list(stratified.attrs["unseen"].values()) == [["lone"]]


def test_cells_without_an_embedding_are_left_out_of_all_rows(cells):
    expected = compare(cells[2:].copy(), "bulk_labels", baselines=["hvg"])
    cells.obsm["X_genemamba"][:2] = np.nan
    table = compare(cells, "bulk_labels", baselines=["hvg"])
    assert table.attrs["cells_without_embedding"] == 2
    pd.testing.assert_frame_equal(table, expected)


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (None, {"label_key": "cell_type"}, "'cell_type' is not a column"),
        (None, {"batch_key": "plate"}, "'plate' is not a column"),
        (None, {"split": "plate"}, "'plate' is not a column"),
        (None, {"use_rep": ["X_genemamba", "X_scVI"]}, "no 'X_scVI'"),
        (None, {"baselines": ["umap"]}, "baselines='umap' is unknown"),
        (None, {"baselines": ["harmony"]}, "without batch_key"),
        (None, {"layer": "counts"}, "'counts' is not in adata.layers"),
        (lambda a: a.obs.insert(0, "n", np.arange(a.n_obs) % 9 / 2), {"label_key": "n"},
         "fractions"),
        (lambda a: a.obs.insert(0, "one", "T"), {"label_key": "one"}, "1 distinct value"),
        (lambda a: a.obs.loc.__setitem__((a.obs_names[0], "donor"), "alone"),
         {"batch_key": "donor"}, "batch_key have one cell only, e.g. alone"),
        (lambda a: a.obs.loc.__setitem__((a.obs_names[:5], "bulk_labels"), np.nan), {},
         r"missing \(NaN\) for 5 of 150"),
        (lambda a: a.obsm.__setitem__("X_pca", a.obsm["X_genemamba"]),
         {"use_rep": "X_pca", "baselines": ["random"]}, r"does not say which model.*\n.*model="),
        (lambda a: setattr(a, "X", a.X - 1.0), {}, "negative"),
    ],
)  # fmt: skip
def test_refused_before_anything_is_written(cells, spoil, arguments, message):
    if spoil:
        spoil(cells)
    arguments = {"label_key": "bulk_labels", "baselines": PLAIN} | arguments
    before = repr(cells), set(cells.uns["genemamba"])
    with pytest.raises(InputError, match=message):
        compare(cells, **arguments)
    assert before == (repr(cells), set(cells.uns["genemamba"]))


def test_a_model_without_a_name_has_to_be_given(cells):
    """`small_model` was never saved: its record cannot tell where to find it."""
    with pytest.raises(InputError, match=r"unnamed.*\n.*pass model="):
        compare(cells, "bulk_labels")


def test_no_anndata():
    with pytest.raises(InputError, match="not an AnnData"):
        compare(np.zeros((9, 2)), "bulk_labels")


def test_what_integrate_wrote_is_scored_as_well(cells):
    cells.obsm["X_genemamba_integrated"] = cells.obsm["X_genemamba"][:, :8]
    cells.obsm["X_other"] = cells.obsm["X_genemamba"][:, 8:]
    both = ["X_genemamba", "X_genemamba_integrated"]
    assert list(compare(cells, "bulk_labels", baselines=[]).index) == both
    named = [*both, "X_other"]
    assert list(compare(cells, "bulk_labels", baselines=[], use_rep=named).index) == named
    del cells.obsm["X_genemamba"]
    assert list(compare(cells, "bulk_labels", baselines=[]).index) == both[1:]
    del cells.obsm["X_genemamba_integrated"]
    with pytest.raises(InputError, match=r"no 'X_genemamba'(.|\n)*gm.tl.embed"):
        compare(cells, "bulk_labels")
    with pytest.raises(InputError, match="use_rep names no embedding"):
        compare(cells, "bulk_labels", use_rep=[])


def test_the_winner_of_each_score_is_named(cells):
    noise = np.random.default_rng(0).normal(scale=0.01, size=(cells.n_obs, 10))
    cells.obsm["X_good"] = np.eye(10)[cells.obs["bulk_labels"].cat.codes] + noise
    reps = ["X_genemamba", "X_good"]
    table = compare(cells, "bulk_labels", batch_key="donor", baselines=[], use_rep=reps)
    won = table.attrs["won"]
    assert list(won) == [name for name in SCORES if name in table]
    assert won["avg_bio"] == won["macro_f1"] == "X_good"
    assert won == {name: table[name].idxmax() for name in won}


def test_scgraph_of_batches_that_are_large_enough(pbmc, small_model):
    gm.tl.embed(pbmc, model=small_model)
    pbmc.obs["batch"] = pd.Categorical(pbmc.obs["batch"])
    table = compare(pbmc, "bulk_labels", batch_key="batch", split="batch", baselines=["pca"])
    assert table["scgraph"].between(-1, 1).all()
    assert table.loc["PCA-50", "scgraph"] > max(0.8, table.loc["X_genemamba", "scgraph"])
    assert "scgraph" in table.attrs["won"] and "scgraph" in as_text(table)


def test_scvi_needs_its_package_and_counts(cells, small_model, monkeypatch):
    monkeypatch.setattr("genemamba.compare.compare.has_scvi", lambda: False)
    assert "scVI" not in compare(cells, "bulk_labels", model=small_model).index
    with pytest.raises(InputError, match=r"scvi-tools is not installed\n.*pip install scvi-tools"):
        compare(cells, "bulk_labels", baselines=["scvi"])
    monkeypatch.setattr("genemamba.compare.compare.has_scvi", lambda: True)
    cells.X = log_normalised(cells).X
    with pytest.raises(InputError, match=r"scVI needs counts, and adata.X holds log1p values"):
        compare(cells, "bulk_labels", baselines=["scvi"])


def drawn():
    """Return the state of the random numbers of the process."""
    return str(np.random.get_state()) + str(random.getstate())  # noqa: NPY002


def test_scvi_is_trained_on_these_cells(cells, monkeypatch):
    pytest.importorskip("scvi", reason="scvi-tools is not a dependency")
    monkeypatch.setattr("genemamba.compare.trained._EPOCHS", 8)
    before = drawn()
    options = {"batch_key": "donor", "baselines": ["scvi", "pca"]}
    table = compare(cells, "bulk_labels", **options)
    assert table.loc["scVI", "kind"] == "trained on these cells, 8 epochs"
    assert table.loc["scVI"].drop(["kind"]).notna().all()
    assert drawn() == before
    pd.testing.assert_frame_equal(table, compare(cells, "bulk_labels", **options))


def test_fewer_epochs_for_more_cells():
    assert [scvi_epochs(n) for n in (300, 20_000, 40_000, 10**8)] == [400, 400, 200, 1]


def test_random_weights_read_what_the_model_read(cells, small_model):
    cells.layers["other"] = cells.X[:, ::-1].copy()
    gm.tl.embed(cells, model=small_model, layer="other")
    row = compare(cells, "bulk_labels", baselines=["random"], model=small_model)
    named = compare(cells, "bulk_labels", baselines=["random"], model=small_model, layer="other")
    pd.testing.assert_frame_equal(row, named)
    gm.tl.embed(cells, model=small_model, gene_ids=list(cells.var_names[::-1]))
    with pytest.raises(InputError, match=r"other genes(.|\n)*gm\.tl\.embed"):
        compare(cells, "bulk_labels", baselines=["random"], model=small_model)


def test_compare_is_where_users_look_for_it():
    """`gm.metrics` imports it on first use; tools that list names have to find it nonetheless."""
    assert gm.metrics.compare.__module__ == "genemamba.compare.compare"
    assert {*gm.metrics.__all__} <= {*dir(gm.metrics)}
    stub = Path(gm.metrics.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    assert sorted(re.findall(r"(\w+) as \1", stub)) == sorted(gm.metrics.__all__)
    with pytest.raises(AttributeError, match="no attribute 'compair'"):
        gm.metrics.compair  # noqa: B018


def test_the_name_of_a_baseline_is_not_an_embedding(pbmc):
    pbmc.obsm["HVG"] = np.ones((700, 2), "float32")
    with pytest.raises(InputError, match="'HVG' is also the name of a baseline's row"):
        gm.metrics.compare(pbmc, "bulk_labels", use_rep="HVG", baselines=["hvg"])


def test_one_gene_has_no_pca(pbmc):
    one = pbmc[:, :1].copy()
    one.obsm["X_own"] = np.random.default_rng(0).normal(size=(700, 3)).astype("float32")
    with pytest.raises(InputError, match="a PCA needs two genes"):
        gm.metrics.compare(one, "bulk_labels", use_rep="X_own", baselines=["pca"])


def test_a_view_is_scored_as_its_cells(pbmc):
    pbmc.obsm["X_own"] = np.random.default_rng(0).normal(size=(700, 3)).astype("float32")
    view = pbmc[np.arange(300)]
    of_view = gm.metrics.compare(view, "bulk_labels", use_rep="X_own", baselines=["hvg"])
    of_copy = gm.metrics.compare(view.copy(), "bulk_labels", use_rep="X_own", baselines=["hvg"])
    pd.testing.assert_frame_equal(of_view, of_copy)
