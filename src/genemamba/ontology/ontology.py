"""Cell types by id and by name, and their hierarchy."""

from __future__ import annotations

import difflib
import gzip
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from ..errors import InputError, shown


class Term(NamedTuple):
    """One cell type."""

    name: str
    synonyms: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()


class Ontology:
    """Terms of the Cell Ontology and the relation "is a" between them.

    A term can have several parents, which are terms as well. `load` returns the ontology that comes
    with the package. A damaged ontology raises InputError.

    Examples
    --------
    >>> from genemamba.ontology import Ontology
    >>> ontology = Ontology.load()
    >>> ontology.find("Memory B cells")
    'CL:0000787'
    >>> [ontology.name(term) for term in ontology.ancestors("CL:0000787")[:3]]
    ['mature B cell', 'B cell, CD19-positive', 'lymphocyte of B lineage, CD19-positive']
    >>> ontology.is_ancestor(ontology.find("lymphocyte"), "CL:0000787")
    True
    """

    def __init__(self, terms: Mapping[str, Term]) -> None:
        self._terms = {key: _checked(key, term, terms) for key, term in terms.items()}
        self._above: dict[str, frozenset[str]] = {}
        self._depth: dict[str, int] = {}
        for key in _parents_first(self._terms):
            parents = self._terms[key].parents
            self._above[key] = frozenset(parents).union(*(self._above[p] for p in parents))
            self._depth[key] = 1 + max((self._depth[p] for p in parents), default=-1)
        names = [(term.name, key) for key, term in self._terms.items()]
        # a name takes precedence over the synonym of another term
        synonyms = [(s, key) for key, term in self._terms.items() for s in term.synonyms]
        self._named = _unambiguous((_plain(name), key) for name, key in synonyms)
        self._named |= _unambiguous((_plain(name), key) for name, key in names)
        self._loosely = _unambiguous((spelling(name), key) for name, key in self._named.items())

    @staticmethod
    def load() -> Ontology:
        """Read the Cell Ontology of the package, once per process."""
        return _shipped()

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all terms."""
        return tuple(self._terms)

    def name(self, term: str) -> str:
        """Return the name of a term."""
        return self._terms[self._known(term)].name

    def parents(self, term: str) -> tuple[str, ...]:
        """Return the terms directly above a term."""
        return self._terms[self._known(term)].parents

    def ancestors(self, term: str, *, include_self: bool = False) -> tuple[str, ...]:
        """Return all ancestors of a term, the most specific first and a root last."""
        above = self._above[self._known(term)] | ({term} if include_self else set())
        return tuple(sorted(above, key=self._order, reverse=True))

    def is_ancestor(self, above: str, below: str) -> bool:
        """Whether the first term is an ancestor of the second."""
        return self._known(above) in self._above[self._known(below)]

    def depth(self, term: str) -> int:
        """Return the length of the longest path to a root; smaller for every ancestor."""
        return self._depth[self._known(term)]

    def find(self, text: str) -> str | None:
        """Return the id of the term with this id, name or exact synonym, or None.

        Case, hyphens, underscores and plurals are ignored; ambiguous text gives None.
        """
        key = text.strip().upper().replace("_", ":")
        if key in self._terms:
            return key
        plain = _plain(text)
        return self._named.get(plain) or self._loosely.get(spelling(plain))

    def nearest(self, text: str, n: int = 3) -> list[str]:
        """Return the names of up to `n` terms with similar spelling."""
        near = difflib.get_close_matches(_plain(text), self._named, n=4 * n, cutoff=0.6)
        return list(dict.fromkeys(self.name(self._named[name]) for name in near))[:n]

    def closure(self, labels: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """Return the labels with their ancestors, and which term includes which label.

        Parameters
        ----------
        labels
            Ids, each once; one may be an ancestor of another.

        Returns
        -------
        terms
            A root first, each term after its ancestors.
        holds
            ``(n_terms, n_labels)`` bool: whether a label is the term or a descendant.
        """
        if len(set(labels)) < len(labels):
            twice = next(label for i, label in enumerate(labels) if label in labels[:i])
            raise InputError(f"the label {shown(twice)} is given twice", "give each label once")
        held = [self._above[self._known(label)] | {label} for label in labels]
        terms = sorted(frozenset().union(*held), key=self._order)
        holds = np.array([[term in of for of in held] for term in terms], dtype=bool)
        return terms, holds.reshape(len(terms), len(labels))

    def _known(self, term: str) -> str:
        if term not in self._terms:
            found = self.find(str(term))
            near = self.nearest(str(term))
            hint = f"use its id, {found!r}" if found else "find an id with Ontology.find"
            hint += f"; did you mean {', '.join(map(repr, near))}?" if near and not found else ""
            raise InputError(f"{shown(term)} is not a Cell Ontology id", hint)
        return term

    def _order(self, term: str) -> tuple[int, str]:
        return self._depth[term], term


@cache
def _shipped() -> Ontology:
    packed = (files("genemamba.ontology") / "cell_ontology.tsv.gz").read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").splitlines()
    _, *rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return Ontology(
        {
            key: Term(name, tuple(filter(None, synonyms.split("|"))), tuple(parents.split()))
            for key, name, synonyms, parents in rows
        }
    )


def _checked(key: str, term: Term, terms: Mapping[str, Term]) -> Term:
    """Check a term, except for cycles, and return it."""
    if not re.fullmatch(r"CL:\d{7}", key):
        raise InputError(f"{shown(key)} is not a Cell Ontology id", "write it as CL:0000236")
    if not term.name.strip():
        raise InputError(f"{key} has no name", "name it, or leave it out")
    if term.name.lower().startswith("obsolete"):
        raise InputError(
            f"{key} ({shown(term.name)}) is obsolete", "leave it out, or use what replaces it"
        )
    unknown = [parent for parent in term.parents if parent not in terms]
    if unknown:
        raise InputError(
            f"{key} ({shown(term.name)}) has the unknown parent {shown(unknown[0])}",
            "add the parent, or remove it",
        )
    return term


def _parents_first(terms: Mapping[str, Term]) -> list[str]:
    """Return the ids, each after its parents."""
    done: dict[str, None] = {}
    waiting = dict.fromkeys(terms)
    while waiting:
        ready = [key for key in waiting if all(parent in done for parent in terms[key].parents)]
        if not ready:
            path = [next(iter(waiting))]
            while path[-1] not in path[:-1]:
                path.append(next(p for p in terms[path[-1]].parents if p in waiting))
            circle = path[path.index(path[-1]) :]
            raise InputError(
                f"{circle[0]} ({shown(terms[circle[0]].name)}) is an ancestor of itself: "
                + " < ".join(circle),
                "remove one of these parents",
            )
        done |= dict.fromkeys(ready)
        waiting = {key: None for key in waiting if key not in done}
    return list(done)


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the terms by name, without ambiguous names."""
    found: dict[str, set[str]] = {}
    for name, key in pairs:
        found.setdefault(name, set()).add(key)
    return {name: keys.pop() for name, keys in found.items() if len(keys) == 1}


def spelling(text: str) -> str:
    """Return a name without what may differ: case, underscores, hyphens, plurals.

    A hyphen at the end of a word is a minus, as in CD4-, and stays.
    """
    words = re.sub(r"(?<=\w)-(?=\w)", " ", _plain(text)).split()
    return " ".join(_singular(word) for word in words)


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").split())


def _singular(word: str) -> str:
    if word.endswith(("ss", "us", "is")) or len(word) < 4:
        return word
    return re.sub(r"ies$", "y", word) if word.endswith("ies") else word.removesuffix("s")
