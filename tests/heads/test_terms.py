"""Cell types as terms of the Cell Ontology: as specific as a cell allows."""

from dataclasses import replace

import numpy as np
import pytest

from genemamba.errors import CheckpointError
from genemamba.heads import Reference, TermHead, fit_terms, has_terms, read_terms, write_terms
from genemamba.heads.terms import SURE, calibrated, holds, terms_of
from genemamba.ontology import Ontology
from genemamba.tokens import Measured

ONTOLOGY = Ontology.load()
NAMES = (
    "CD4-positive, alpha-beta T cell",
    "CD8-positive, alpha-beta T cell",
    "B cell",
    "hepatocyte",
    "fibroblast",
)
LABELS = tuple(ONTOLOGY.find(name) for name in NAMES)
MEASURED = Measured(np.arange(3, 13, dtype=np.int32), np.full(10, 0.1, dtype=np.float32))
CENTRES = 6 * np.eye(8)[[0, 0, 1, 2, 3]]  # CD4 and CD8 T cells lie in one place


def cells(n, rng):
    """Draw cells of eight studies, each shifted a little."""
    y, study = rng.integers(0, len(LABELS), n), rng.integers(0, 8, n)
    shift = np.random.default_rng(1).normal(0, 0.3, (8, 8))
    X = CENTRES[y] + shift[study] + rng.normal(0, 1, (n, 8))
    return X.astype(np.float32), y, study


@pytest.fixture(scope="module")
def head():
    rng = np.random.default_rng(0)
    X, y, study = cells(1_200, rng)
    fitted = fit_terms(X, y, LABELS, study, study < 2, rng)
    probe, terms, slope, offset, info = fitted
    occurs = np.array([[True, True, True, False, False], [False, False, False, True, True]])
    return TermHead(
        LABELS, terms, probe, slope, offset, ("Blood", "Liver"), occurs,
        Reference(X, y, len(LABELS)), 3.0, MEASURED, info, "a map",
    )  # fmt: skip


def given(head, X, **options):
    confidence = head.confidence(head.shares(X))
    among = np.ones(len(head.terms), dtype=bool)
    found = head.named(confidence, among, **options)
    return [ONTOLOGY.name(head.terms[i]) if i >= 0 else None for i in found], confidence, found


def test_a_term_is_right_or_an_ancestor_of_the_truth_as_often_as_stated(head):
    X, y, _ = cells(2_000, np.random.default_rng(2))
    _, confidence, found = given(head, X)
    got = found >= 0
    assert got.mean() > 0.95
    right = holds(head.terms, head.labels)[found, y]
    stated = confidence[np.arange(len(X)), found]
    assert abs(stated[got].mean() - right[got].mean()) < 0.03
    assert right[got].mean() > SURE


def test_cells_that_cannot_be_told_apart_get_what_they_have_in_common(head):
    X, y, _ = cells(500, np.random.default_rng(3))
    names, _, _ = given(head, X)
    of_t_cells = {name for name, code in zip(names, y, strict=True) if code < 2}
    common = "CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell"
    assert len([n for n, code in zip(names, y, strict=True) if code < 2 and n in common]) < 10
    assert any("T cell" in name for name in of_t_cells if name)
    of_others = [name == NAMES[code] for name, code in zip(names, y, strict=True) if code > 1]
    assert np.mean(of_others) > 0.9


def test_terms_are_those_that_name_a_kind_of_cell(head):
    names = {ONTOLOGY.name(term) for term in head.terms}
    assert {"T cell", "lymphocyte", "hematopoietic cell", *NAMES} <= names
    assert not names & {"cell", "eukaryotic cell", "motile cell", "nucleate cell"}
    assert set(terms_of(LABELS)) == set(head.terms)


def test_the_most_probable_term_is_given_whatever_its_confidence(head):
    X, _, _ = cells(200, np.random.default_rng(4))
    leaves = np.isin(head.terms, head.labels)
    found = head.named(head.confidence(head.shares(X)), leaves, sure=0)
    assert (found >= 0).all()
    assert {head.terms[i] for i in found} <= set(LABELS)


def test_no_term_is_given_where_none_is_allowed_or_sure(head):
    X, _, _ = cells(20, np.random.default_rng(5))
    confidence = head.confidence(head.shares(X))
    assert (head.named(confidence, np.zeros(len(head.terms), dtype=bool)) == -1).all()
    assert (head.named(np.zeros_like(confidence), np.ones(len(head.terms), dtype=bool)) == -1).all()


def test_cells_without_a_vector_get_no_term(head):
    X = np.full((2, 8), np.nan, dtype=np.float32)
    shares = head.shares(X)
    assert np.isnan(shares).all()
    confidence = head.confidence(shares)
    for sure in (SURE, 0):
        assert (head.named(confidence, np.ones(len(head.terms), bool), sure=sure) == -1).all()


def test_labels_that_are_not_allowed_get_nothing(head):
    X, y, _ = cells(300, np.random.default_rng(6))
    shares = head.shares(X, np.array([False, False, False, True, True]))
    assert shares[:, head.terms.index(LABELS[2])].max() == 0
    fibroblast = shares[:, head.terms.index(LABELS[4])]
    assert (fibroblast[y == 4] > 0.9).mean() > 0.9


def test_the_tissue_whose_types_are_there_is_guessed(head):
    X, y, _ = cells(600, np.random.default_rng(7))
    blood, liver = head.tissue_shares(head.shares(X[y < 3]))
    assert blood > 0.9
    assert blood + liver == pytest.approx(1)
    assert head.tissue_shares(head.shares(X[y == 3]))[1] > 0.9


def test_confidence_rises_with_probability_and_is_none_without_evidence():
    p = np.linspace(0, 1, 101)[:, None]
    found = calibrated(p, 0.9, np.zeros(1)).ravel()
    assert (np.diff(found) >= 0).all()
    assert found[0] == found[2] == 0
    assert found[-1] < 1


def test_a_panel_is_told_by_what_it_lacks(head):
    assert not head.panel(np.arange(3, 13))
    assert not head.panel(np.arange(3, 12))
    assert head.panel(np.arange(3, 11))


def test_panels_have_a_calibration_of_their_own():
    """Cells of a panel are as likely to be called a type, but less often rightly."""
    rng = np.random.default_rng(9)
    X, y, study = cells(3_000, rng)
    panel = rng.random(len(X)) < 0.5
    wrong = panel & (rng.random(len(X)) < 0.4)
    y[wrong] = rng.integers(0, len(LABELS), wrong.sum())
    _, terms, slope, offset, _ = fit_terms(X, y, LABELS, study, panel, rng)
    share = np.full((1, len(terms)), 0.9)
    whole, cut = (calibrated(share, slope[k], offset[k]).mean() for k in (0, 1))
    assert cut < whole - 0.1


def test_a_stored_classifier_is_the_same(head, tmp_path):
    assert not has_terms(tmp_path)
    write_terms(head, tmp_path)
    again = read_terms(tmp_path, {"a map": head.reference.X}.__getitem__)
    X, _, _ = cells(100, np.random.default_rng(8))
    assert np.allclose(again.shares(X), head.shares(X), atol=5e-3)
    assert given(again, X)[0] == given(head, X)[0]
    assert again.info == head.info
    assert again.tissues == head.tissues
    assert again.farthest == head.farthest
    assert np.array_equal(again.reference.X, head.reference.X)
    assert (tmp_path / "terms.json").read_text().endswith("\n")


@pytest.mark.parametrize("damage", ["cut", "missing", "foreign", "misfit", "unknown term"])
def test_a_damaged_classifier_is_rejected(head, tmp_path, damage):
    wrong = {
        "misfit": replace(head, offset=head.offset[:, 1:]),
        "unknown term": replace(head, terms=("CL:9999999", *head.terms[1:])),
    }
    write_terms(wrong.get(damage, head), tmp_path)
    if damage == "cut":
        data = (tmp_path / "terms.safetensors").read_bytes()
        (tmp_path / "terms.safetensors").write_bytes(data[:-8])
    if damage == "missing":
        (tmp_path / "terms.safetensors").unlink()
    if damage == "foreign":
        (tmp_path / "terms.json").write_text("[]", encoding="utf-8")
    with pytest.raises(CheckpointError, match="classifier"):
        read_terms(tmp_path, lambda _: head.reference.X)
