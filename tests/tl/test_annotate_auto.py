"""What ``method="auto"`` chooses, what it reports, and how it reads panels of genes."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from anndata import AnnData
from sklearn.metrics import f1_score

import genemamba as gm
from genemamba.errors import GeneMambaWarning
from genemamba.network import GeneMamba

KEY = "bulk_labels"
pytestmark = pytest.mark.filterwarnings(
    "ignore:fewer than 5 labelled cells", "ignore:.*cells are unlike the reference"
)


@pytest.fixture(scope="module")
def _three(_pbmc: AnnData) -> AnnData:
    """Cells of three types that are easy to tell apart, embedded."""
    common = ["CD19+ B", "CD56+ NK", "Dendritic"]
    cells = _pbmc[_pbmc.obs[KEY].isin(common)].copy()
    return gm.tl.embed(cells, copy=True)


@pytest.fixture
def pair(_three: AnnData) -> tuple[AnnData, AnnData]:
    """Labelled cells, and others."""
    order = np.random.default_rng(0).permutation(_three.n_obs)
    return _three[order[:120]].copy(), _three[order[120:180]].copy()


def bare(adata: AnnData, genes: slice = slice(None)) -> AnnData:
    return AnnData(adata.X[:, genes], obs=adata.obs, var=adata.var[genes])


def annotated(query: AnnData, reference: object, **options: object) -> dict:
    """Annotate, and return the record."""
    options = {"label_key": KEY, "unknown": False} | options
    gm.tl.annotate(query, reference=reference, **options)
    return query.uns["genemamba"]["annotate"]


def macro_f1(query: AnnData) -> float:
    truth, found = (query.obs[k].astype(str) for k in (KEY, "genemamba_label"))
    return float(f1_score(truth, found, average="macro"))


def without_signal(adata: AnnData, seed: int) -> None:
    """Replace the embedding by noise of the same shape, with its record kept."""
    X = adata.obsm["X_genemamba"]
    adata.obsm["X_genemamba"] = np.random.default_rng(seed).normal(size=X.shape).astype(np.float32)


def test_expression_that_the_embedding_lacks(pair: tuple[AnnData, AnnData]) -> None:
    reference, query = pair
    without_signal(reference, 0)
    without_signal(query, 1)
    with pytest.warns(GeneMambaWarning, match="expression predicts these labels better"):
        record = annotated(query, reference)
    assert record["reads"] in ("expression", "joined")
    scores = record["candidates"]
    assert scores[record["used"]] == max(scores.values())
    assert scores["expression"] > scores["embedding"] + 0.3
    assert macro_f1(query) > 0.9
    with pytest.warns(GeneMambaWarning, match="guess"):
        annotated(query, reference, method="probe")
    assert macro_f1(query) < 0.6


def test_an_embedding_that_has_what_expression_lacks(pair: tuple[AnnData, AnnData]) -> None:
    reference, query = pair
    for seed, adata in enumerate(pair):
        adata.X = adata.X[np.random.default_rng(seed).permutation(adata.n_obs)]
    record = annotated(query, reference)
    assert record["reads"] == "embedding" or record["candidates"]["joined"] > 0.9
    assert macro_f1(query) > 0.9


def test_the_same_generator_gives_the_same_record(pair: tuple[AnnData, AnnData]) -> None:
    reference, query = pair
    first, second = (annotated(query.copy(), reference, rng=3) for _ in "ab")
    for name in ("candidates", "reads", "strength", "temperature", "held_out_macro_f1"):
        assert first[name] == second[name]


@pytest.mark.parametrize("batches", ["one", "two"])
def test_batches(pair: tuple[AnnData, AnnData], batches: str) -> None:
    reference, query = pair
    reference.obs["donor"] = "x" if batches == "one" else np.repeat(["x", "y"], 60)
    record = annotated(query, reference, batch_key="donor")
    assert record["groups"] == {"one": 1, "two": 2}[batches]
    expected = {"embedding", "joined", "expression", "discriminants", "knn"}
    assert set(record["candidates"]) == expected
    assert macro_f1(query) > 0.85


def test_a_class_of_two_cells(pair: tuple[AnnData, AnnData]) -> None:
    reference, query = pair
    names = reference.obs[KEY].astype(str).to_numpy(dtype=object)
    names[:2] = "rare"
    reference.obs["names"] = names
    record = annotated(query, reference, label_key="names")
    assert "rare" in record["classes"] and "rare" in record["perhaps_absent"]
    assert set(record["classes"]) - set(record["perhaps_absent"]) == set(query.obs[KEY])


def test_a_reference_whose_counts_are_gone(pair: tuple[AnnData, AnnData]) -> None:
    reference, query = pair
    reference.X = reference.X - 3.0
    record = annotated(query, reference)
    assert "reference.X holds negative" in record["expression_unread"]
    assert set(record["candidates"]) == {"embedding", "knn"}
    assert set(record["counts_lost"]) == {"unknown_genes"}
    assert macro_f1(query) > 0.9


def test_the_summary_is_printed_and_kept(
    pair: tuple[AnnData, AnnData],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    reference, query = pair
    query = query[query.obs[KEY] != "CD19+ B"].copy()
    reference.obs["a/b"] = reference.obs[KEY].astype(str).replace("CD19+ B", "B/x")
    record = annotated(query, reference, label_key="a/b", unknown=True, folder=tmp_path / "head")
    out, said = capsys.readouterr()
    assert out == ""
    bars = ("annotate: ", "embed: ")  # where it took long
    lines = [line for line in said.splitlines() if line and not line.startswith(bars)]
    assert lines[0].startswith(f"{query.n_obs} cells annotated, {record['unknown']:,} (")
    best = max(record["candidates"].values())
    assert f"{best:.2f} (used)" in lines[1] and "knn" in lines[1]
    assert lines[2].startswith("  counts not used: ")
    assert lines[3] == "  perhaps absent: B/x" and len(lines) == 4
    query.write_h5ad(tmp_path / "cells.h5ad")
    kept = ad.read_h5ad(tmp_path / "cells.h5ad").uns["genemamba"]["annotate"]
    assert kept["perhaps_absent"].tolist() == ["B/x"]
    assert kept["candidates"] == record["candidates"]
    assert kept["counts_lost"] == record["counts_lost"]
    # it leaves out what it does not know
    gm.tl.annotate(query, unknown=False)
    said = capsys.readouterr().err
    assert "lacks" not in said and "not_in_reference" not in str(query.uns["genemamba"])


def test_no_summary_where_bars_are_off(
    pair: tuple[AnnData, AnnData],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    annotated(pair[1], pair[0], method="knn")
    assert "annotated" not in capsys.readouterr().err


PANEL = slice(0, 200)


@pytest.fixture
def small(pair: tuple[AnnData, AnnData], small_model: GeneMamba) -> tuple[AnnData, AnnData, dict]:
    """The same cells without an embedding, and a model that embeds them quickly."""
    reference, query = (bare(adata) for adata in pair)
    return reference, query, {"model": small_model, "method": "knn"}


def test_a_reference_is_read_on_the_genes_of_a_panel(small: tuple, capsys) -> None:
    reference, query, how = small
    gm.tl.embed(reference, model=how["model"])  # of all genes: not used
    panel = bare(query, PANEL)
    record = annotated(panel, reference, **how)
    cut = bare(reference, PANEL)
    same = bare(query, PANEL)
    expected = annotated(same, cut, **how)
    np.testing.assert_allclose(
        panel.obsm["genemamba_proba"], same.obsm["genemamba_proba"], atol=1e-5
    )
    np.testing.assert_allclose(
        panel.obs["genemamba_distance"], same.obs["genemamba_distance"], rtol=1e-4
    )
    known = record["reference_genes"]["number"]
    assert known == 200
    share = np.asarray(reference.X[:, PANEL].sum(1) / reference.X.sum(1)).mean()
    assert record["reference_genes"]["share_of_counts"] == pytest.approx(share, rel=1e-4)
    assert "reference_genes" not in expected
    assert "reference read on the 200 genes" in capsys.readouterr().err


def test_cells_are_read_on_the_genes_of_a_panel_reference(small: tuple, tmp_path: Path) -> None:
    reference, query, how = small
    cut, usual, panel = bare(reference, PANEL), bare(query), bare(query, PANEL)
    gm.tl.embed(usual, model=how["model"])
    record = annotated(query, cut, **how, folder=tmp_path)
    annotated(panel, cut, **how)
    for slot in ("genemamba_label", "genemamba_confidence", "genemamba_distance"):
        assert (query.obs[slot] == panel.obs[slot]).all()
    # what is written is the embedding of all genes, as always
    np.testing.assert_allclose(query.obsm["X_genemamba"], usual.obsm["X_genemamba"], atol=1e-5)
    assert "reference_genes" not in record
    lost = np.asarray(1 - query.X[:, PANEL].sum(1) / query.X.sum(1)).mean()
    assert record["counts_lost"]["genes_not_in_reference"] == pytest.approx(lost, rel=1e-4)
    # and a folder knows its genes
    again = bare(query)
    gm.tl.annotate(again, reference=tmp_path, model=how["model"], unknown=False)
    assert (again.obs["genemamba_distance"] == query.obs["genemamba_distance"]).all()


def test_a_panel_is_warned_of_a_classifier_of_more_genes(small: tuple, tmp_path: Path) -> None:
    reference, query, how = small
    annotated(bare(query), reference, **how | {"method": "auto"}, folder=tmp_path)
    few = bare(query, PANEL)
    with pytest.warns(GeneMambaWarning, match=r"less reliable: \d+% of the counts"):
        gm.tl.annotate(few, reference=tmp_path, model=how["model"], unknown=False)
    assert np.isfinite(few.obsm["genemamba_proba"]).all()


def test_a_few_genes_less_change_nothing(small: tuple) -> None:
    reference, query, how = small
    rare = np.argsort(np.asarray(reference.X.sum(0)).ravel())[:100]
    fewer = query[:, np.setdiff1d(np.arange(query.n_vars), rare)].copy()
    gm.tl.embed(reference, model=how["model"])
    record = annotated(fewer, reference, **how)
    assert "reference_genes" not in record
