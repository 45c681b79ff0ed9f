"""The reviewed table of the labels of the training data."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from genemamba.ontology import Ontology

TABLE = Path(__file__).parents[2] / "benchmarks" / "labels.csv"
CORPUS = {"gastrula_tyser", "ipsc_cardio", "fetal_brain_camp", "embryo_blakeley"}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_columns_and_keys(rows) -> None:
    assert list(rows[0]) == ["file", "label", "tissue", "cl_id", "cl_name", "note"]
    keys = Counter((row["file"], row["label"]) for row in rows)
    assert max(keys.values()) == 1
    assert all(row["file"] and row["label"] and row["tissue"] for row in rows)
    assert not [row for row in rows if any(v != v.strip() for v in row.values())]


def test_every_id_is_a_term_of_the_name(rows) -> None:
    ontology = Ontology.load()
    for row in rows:
        if row["cl_id"]:
            assert ontology.name(row["cl_id"]) == row["cl_name"]
        else:
            assert row["note"], row
            assert not row["cl_name"]


def test_nearly_all_profiles_are_mapped(rows) -> None:
    profiles = [row for row in rows if row["file"] not in CORPUS]
    assert len(profiles) == 508
    assert sum(bool(row["cl_id"]) for row in profiles) >= 0.95 * len(profiles)
    assert {row["file"] for row in rows} - {row["file"] for row in profiles} == CORPUS


def test_types_are_seen_in_several_studies(rows) -> None:
    seen = defaultdict(set)
    for row in rows:
        seen[row["cl_id"]].add(row["file"])
    assert sum(len(files) > 1 for term, files in seen.items() if term) >= 75


def test_one_label_means_kindred_types(rows) -> None:
    """A name used in several tables of a tissue means the same, or one kind of the other."""
    ontology = Ontology.load()
    named = defaultdict(set)
    for row in rows:
        if row["cl_id"] and row["file"] not in CORPUS:
            named[row["tissue"], row["label"].lower().rstrip("s")].add(row["cl_id"])
    for (tissue, label), terms in named.items():
        top = min(terms, key=ontology.depth)
        rest = terms - {top}
        assert all(ontology.is_ancestor(top, term) for term in rest), (tissue, label, terms)
