from __future__ import annotations

import gzip
import re
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genemamba.errors import InputError
from genemamba.ontology import Ontology, Term, spelling

CL = Ontology.load()
CELL = "CL:0000000"
some_term = st.sampled_from(CL.ids)


def walk(terms: dict[str, Term] | Ontology, term: str) -> set[str]:
    """All terms above one, the slow way."""
    parents = terms.parents(term) if isinstance(terms, Ontology) else terms[term].parents
    return set(parents).union(*(walk(terms, parent) for parent in parents))


def key(i: int) -> str:
    return f"CL:{i:07}"


@st.composite
def terms(draw) -> dict[str, Term]:
    """Small ontologies: the parents of a term are some of those before it, listed in any order."""
    n = draw(st.integers(1, 12))
    drawn = {
        key(i): Term(
            f"type {i}", (), tuple(draw(st.sets(st.sampled_from([key(j) for j in range(i)]))))
        )
        if i
        else Term("root")
        for i in range(n)
    }
    order = draw(st.permutations(sorted(drawn)))
    return {k: drawn[k] for k in order}


def test_ancestors_are_those_of_a_plain_walk() -> None:
    for term in CL.ids[::7]:
        assert set(CL.ancestors(term)) == walk(CL, term)
        assert set(CL.ancestors(term, include_self=True)) == walk(CL, term) | {term}


@given(terms())
def test_small_ontologies_agree_with_a_plain_walk(drawn) -> None:
    ontology = Ontology(drawn)
    for term in drawn:
        assert set(ontology.ancestors(term)) == walk(drawn, term)
        for other in drawn:
            assert ontology.is_ancestor(other, term) == (other in walk(drawn, term))


def test_every_term_is_a_cell_and_none_its_own_ancestor() -> None:
    assert CL.name(CELL) == "cell"
    assert CL.depth(CELL) == 0
    for term in CL.ids:
        assert term == CELL or CL.is_ancestor(CELL, term)
        assert not CL.is_ancestor(term, term)


@given(some_term)
def test_the_relation_is_transitive_and_depth_grows_along_it(term) -> None:
    above = CL.ancestors(term)
    depths = [CL.depth(a) for a in above]
    assert depths == sorted(depths, reverse=True)
    assert not depths or depths[0] < CL.depth(term)
    for a in above:
        assert set(CL.ancestors(a)) < set(above)
        assert not CL.is_ancestor(term, a)


@given(st.lists(some_term, unique=True, max_size=12))
def test_the_closure_is_reachability(labels) -> None:
    found, holds = CL.closure(labels)
    assert set(found) == set(labels).union(*(walk(CL, label) for label in labels))
    expected = [[t == label or t in walk(CL, label) for label in labels] for t in found]
    assert holds.dtype == bool
    np.testing.assert_array_equal(holds, np.reshape(expected, (len(found), len(labels))))
    place = {term: i for i, term in enumerate(found)}
    assert all(place[p] < place[t] for t in found for p in CL.parents(t))


def test_a_label_may_be_the_ancestor_of_another() -> None:
    labels = ["CL:0000236", "CL:0000787", "CL:0000084"]  # B, memory B, T
    found, holds = CL.closure(labels)
    assert holds[found.index("CL:0000236")].tolist() == [True, True, False]
    assert holds[found.index("CL:0000787")].tolist() == [False, True, False]


def test_a_label_given_twice_is_an_error() -> None:
    with pytest.raises(InputError, match="'CL:0000236' is given twice"):
        CL.closure(["CL:0000236", "CL:0000084", "CL:0000236"])


@given(some_term)
def test_a_term_is_found_by_id_and_by_name_in_any_case(term) -> None:
    assert CL.find(f" {term.lower()}") == CL.find(term.replace(":", "_")) == term
    name = CL.name(term)
    assert CL.find(name) == CL.find(f" {name.upper()} ") == CL.find(name.replace(" ", "_")) == term


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Macrophages", "macrophage"),
        ("memory B cells", "memory B cell"),
        ("gamma delta T cells", "gamma-delta T cell"),
        ("T-cells", "T cell"),
        ("fat cell", "adipocyte"),
        ("Kupffer cells", "Kupffer cell"),
        ("pDC", "plasmacytoid dendritic cell"),
        ("epithelial cells of esophagus", "epithelial cell of esophagus"),
        # both a name and the synonym of another term
        ("substantia nigra dopaminergic neuron", "substantia nigra dopaminergic neuron"),
    ],
)
def test_plurals_and_synonyms(text, name) -> None:
    found = CL.find(text)
    assert found is not None
    assert CL.name(found) == name


@pytest.mark.parametrize("text", ["", "s", "nan", "unknown", "CL:9999999", "cluster 5", "cells x"])
def test_what_names_no_term_is_not_found(text) -> None:
    assert CL.find(text) is None


def test_a_synonym_of_two_terms_names_none() -> None:
    twins = {key(i): Term(f"type {i}", ("twin",)) for i in range(2)}
    assert Ontology(twins).find("Twins") is None


@pytest.mark.parametrize(
    ("text", "name"), [("macrofage", "macrophage"), ("endothelail cell", "endothelial cell")]
)
def test_nearest_names(text, name) -> None:
    near = CL.nearest(text)
    assert near[0] == name
    assert len(near) == len(set(near)) <= 3
    assert CL.nearest("%%%") == []


def test_an_unknown_id_is_an_error_that_helps() -> None:
    with pytest.raises(InputError, match=r"(?s)'B cell' is not a Cell Ontology id.*'CL:0000236'"):
        CL.depth("B cell")
    with pytest.raises(InputError, match=r"(?s)'macrofage' is not a Cell Ontology id.*macrophage"):
        CL.is_ancestor(CELL, "macrofage")
    with pytest.raises(InputError, match="'CL:9999999' is not a Cell Ontology id"):
        CL.closure(["CL:9999999"])


@given(terms(), st.data())
def test_a_circle_is_an_error_that_shows_it(drawn, data) -> None:
    below = data.draw(st.sampled_from(sorted(drawn)))
    above = data.draw(st.sampled_from(sorted(walk(drawn, below) | {below})))
    closed = drawn[above]._replace(parents=(*drawn[above].parents, below))
    with pytest.raises(InputError, match="is an ancestor of itself") as raised:
        Ontology(drawn | {above: closed})
    circle = re.findall(r"CL:\d{7}", raised.value.what)[1:]
    assert circle[0] == circle[-1]
    broken = drawn | {above: closed}
    assert all(b in broken[a].parents for a, b in pairwise(circle))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"GO:0000001": Term("growth")}, "'GO:0000001' is not a Cell Ontology id"),
        ({"CL:1": Term("short")}, "'CL:1' is not a Cell Ontology id"),
        ({key(1): Term(" ")}, "CL:0000001 has no name"),
        ({key(1): Term("obsolete immature T cell")}, "is obsolete"),
        ({key(1): Term("orphan", (), (key(2),))}, "unknown parent 'CL:0000002'"),
    ],
)
def test_broken_input(broken, message) -> None:
    with pytest.raises(InputError, match=message):
        Ontology(broken)


def test_the_shipped_file_names_its_release_and_licence() -> None:
    packed = (files("genemamba.ontology") / "cell_ontology.tsv.gz").read_bytes()
    head = [line for line in gzip.decompress(packed).decode().splitlines() if line[0] == "#"]
    assert "release 2026-03-26" in head[0]
    assert "CC BY 4.0" in head[1]
    assert len(packed) < 65_000


def test_it_is_read_once() -> None:
    assert Ontology.load() is CL


def test_a_minus_is_no_hyphen() -> None:
    assert CL.find("T-cell") == CL.find("T cell")
    assert CL.find("T- cell") is None
    assert spelling("Pro-B_Cells") == "pro b cell"
    assert spelling("CD4- T") != spelling("CD4 T")
