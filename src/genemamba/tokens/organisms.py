"""Recognise the organism of genes by their names."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from ..errors import InputError, shown
from .genes import look_up, looks_mouse, some
from .orthologues import ORGANISMS, Orthologues
from .vocab import Vocabulary

Organism: TypeAlias = Literal["auto", "human", "mouse", "macaque", "pig"]

_ALSO = {"homo sapiens": "human", "mus musculus": "mouse", "macaca mulatta": "macaque",
         "macaca fascicularis": "macaque", "sus scrofa": "pig"}  # fmt: skip
_GENOME = re.compile(r"((hg|grch|mm|grcm)\d+_+)(.+)", re.IGNORECASE)
_OF_GENOME = {"hg": "human", "grch": "human", "mm": "mouse", "grcm": "mouse"}
_RAT = re.compile(r"RGD\d{5,}|RT1-.+|AABR\d{6,}.*")
_MANY = 20  # names that only one organism has
_MIXED = 0.1  # a pure file has less than .01 of the other
_FEW = 10


class Named(NamedTuple):
    """Names of genes without their genome, and the table that leads to human genes, if any."""

    names: list[str]
    table: Orthologues | None


def check_organism(organism: Any) -> None:
    """Raise unless a value is the name of an organism, or "auto"."""
    known = ("auto", *ORGANISMS)
    if isinstance(organism, str) and organism in known:
        return
    plain = str(organism).casefold().replace("_", " ")
    near = difflib.get_close_matches(plain, [*known, *_ALSO], n=3, cutoff=0.5)
    near = [*dict.fromkeys(_ALSO.get(name, name) for name in near)]
    raise InputError(
        f"organism={shown(organism)} is not an organism whose genes can be read",
        f"did you mean {' or '.join(map(repr, near))}? Known are {', '.join(map(repr, known))}"
        if near else f"use one of {', '.join(map(repr, known))}",
    )  # fmt: skip


def of_organism(
    names: Sequence[str],
    vocab: Vocabulary,
    organism: str = "auto",
    *,
    where: str = "adata.var_names",
) -> Named:
    """Recognise the organism of genes by their names, or check that they are of the one given.

    Mouse genes are recognised by Ensembl ids and by symbols in title case; genes of macaque and
    pig have the symbols of human genes, so these have to be named.

    Raises
    ------
    InputError
        If the names are of several organisms, or not of the one given.
    """
    names, genome = _without_genome([str(name) for name in names], where)
    seen, example = _seen(names, vocab, where)
    given = genome or organism
    if "auto" not in (organism, given) and given != organism:
        raise _contradiction(organism, genome, names, where)
    if given == "auto":
        given = seen
    elif seen == "mouse" and given != "mouse":
        raise _contradiction(organism if organism != "auto" else given, seen, example, where)
    if given == "human":
        return Named(names, None)
    table = Orthologues.load(given)
    if seen != "mouse":
        _refuse_human(names, table, vocab, where)
    elif organism == "auto" and sum(map(bool, map(_RAT.fullmatch, names))) >= _MANY:
        rat = [name for name in names if _RAT.fullmatch(name)]
        raise InputError(
            f"{len(rat)} of {len(names)} names in {where} are rat genes, {some(rat)}",
            "name the columns by human orthologues; organism='mouse' reads the genes that are "
            "called as in the mouse",
        )
    return Named(names, table)


def _without_genome(names: list[str], where: str) -> tuple[list[str], str]:
    """Remove the genome before each name; return its organism, "" if most names have none."""
    found = [_GENOME.fullmatch(name) for name in names]
    count = Counter(match[1] for match in found if match)
    if count.total() <= len(names) / 2:
        return names, ""
    first: dict[str, str] = {}  # the genome of each organism, most genes first
    for prefix, _ in count.most_common():
        first.setdefault(_OF_GENOME[re.sub(r"[\d_]", "", prefix).casefold()], prefix)
    if len(first) > 1:
        one, other = list(first.values())[:2]
        own = f"{where}.str.startswith({one!r})"
        raise InputError(
            f"the names in {where} are of two organisms: "
            + " and ".join(f"{count[p]:,} of {o} ({p}…)" for o, p in first.items()),
            f"split them: own = {own}; adata = adata[np.ravel(adata[:, own].X.sum(1)) > "
            f"np.ravel(adata[:, ~own].X.sum(1)), own].copy(); and the same with {other!r}",
        )
    (organism,) = first
    return [match[3] if match else name for match, name in zip(found, names, strict=True)], organism


def _seen(names: list[str], vocab: Vocabulary, where: str) -> tuple[str, list[str]]:
    """Return "mouse" or, for lack of mouse genes, "human"; and names that show it."""
    like = np.array([looks_mouse(name) for name in names], dtype=bool)
    if like.sum() < _MIXED * len(names):  # human symbols such as C1orf112
        return "human", names
    mouse = Orthologues.load("mouse").knows(names)
    human = (look_up(names, vocab)[0] >= 0) & ~mouse
    n_mouse, n_human = int(mouse.sum()), int(human.sum())
    fewer = min(n_mouse, n_human)
    if fewer >= _FEW and fewer >= _MIXED * (n_mouse + n_human):
        both = [next(name for name, is_it in zip(names, of, strict=True) if is_it)
                for of in (human, mouse)]  # fmt: skip
        raise InputError(
            f"the names in {where} are of two organisms: {n_human:,} human genes and {n_mouse:,} "
            f"mouse genes, {some(both)}",
            "keep the cells and the genes of one organism: "
            f"adata = adata[cells, {where}.str.isupper()].copy()"
            if not names[0].startswith("ENS") else
            "keep the cells and the genes of one organism: "
            f"adata = adata[cells, {where}.str.startswith('ENSG')].copy()",
        )  # fmt: skip
    if n_mouse <= n_human:
        return "human", names
    return "mouse", [name for name, is_it in zip(names, mouse, strict=True) if is_it]


def _refuse_human(names: list[str], table: Orthologues, vocab: Vocabulary, where: str) -> None:
    """Raise if many names are human genes and none of the organism's.

    Of 5 sets of mouse symbols in upper case .004 to .012 are, of human sets .08 to .23.
    """
    own = table.human(names)[0] != ""
    human = look_up(names, vocab)[0] >= 0
    only = human & ~own
    limit = 0.03 if table.ids else 0.5  # symbols of macaque and pig are human symbols
    if only.sum() >= _FEW and only.sum() > limit * human.sum():
        told = [name for name, is_it in zip(names, only, strict=True) if is_it]
        raise _contradiction(table.organism, "human", told, where)


def _contradiction(given: str, seen: str, names: list[str], where: str) -> InputError:
    return InputError(
        f"organism={given!r}, but the names in {where} are {seen} genes, {some(names)}",
        f"use organism={seen!r}, or leave it out",
    )
