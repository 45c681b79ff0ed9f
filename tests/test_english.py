"""Prose is plain English: the turns of phrase that we left do not come back.

Of pages, everything but code blocks and tables of results is read; of tutorials, the text and the
comments; of the package, docstrings, comments and strings. `docs/glossary.md` has the terms.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "genemamba"

LEFT = {
    r"\b(goes|gone|going|go) on (with|after|where|from|if)\b|\b(goes|gone) on[.,;:]": "resumes",
    r"\bwhatever (stopped|has)\b|\bafter a kill\b": "after an interruption",
    r"\bbeside\b": "compared with, next to",
    r"\b(stands?|stood) (in|at|on|by|there|beside|between|among|for)\b": "is, is listed in",
    r"\b(its|their|longer|the|these cells') sentences?\b|\bsentences? of\b": "ranked genes",
    r"\bset (it|them|this cell|a cell) apart\b": "relative to the corpus median",
    r"\b(is|are|was|were|be) refused\b": "is rejected",
    r"\b(can|could|to) be had\b|\bwith cells enough\b": "exists, is available",
    r"\b(cannot|could not) be told\b(?! (apart|from))": "cannot check: needs …",
    r"\btests? holds?\b": "is covered by tests",
    r"\brests? on\b|\bnext to nothing\b": "is based on; is unreliable",
    r"\bto nobody\b|\bnobody('s| else)\b": "under a lock; computed lazily",
    r"\bread aloud\b": "explicit",
    r"\bwhims?\b": "model artefact",
    r"\bout of its depth\b|\b(is|was|were|been) taught\b|\bteach(es|ing)?\b": "trained on",
    r"\bpictures?\b": "plot, figure",
    r"\bof one's own\b": "your own",
    r"\bas (it is|it came|they come|ever)[.,;:]": "unchanged, as usual",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\blikeliest\b": "most likely",
    r"\b(learn\w*) by heart\b|\bby turns\b": "memorise; alternately",
    r"\bon a part of the cells\b": "some cells already labelled",
    r"\bof like (rank|place)\b": "of similar rank",
    r"\bin the running\b": "ranked",
    r"\bof no use here\b|\bof a (cell|gene) that is kept\b": "has no effect; minimum … per …",
    r"\bit is said\b|, and said\b": "is reported",
    r"(?<!there.)\b(is|are) no (zarr|MuData|AnnData|tables?|matrix)\b": "is not a …",
    r"\bhonest(ly)?\b": "calibrated, validated",
    r"\bas far as it is\b": "at its current step",
    r"\bmake room\b": "free some space",
    r"\btypes were mixed, too\b": "types were merged as well",
    r"\btells? (how far|which genes|what leads)\b": "reports, measures",
}
"""What we left, and what to write instead."""

EXCEPTIONS: dict[str, str] = {}
"""For a file of the package, text in which such a word has its plain sense."""

ROOMS = [
    "cells",
    "tl",
    "pp",
    "cli.py",
    "_arguments.py",
    "metrics",
    "compare",
    "pl",
    "network",
    "models",
    "train",
    "datasets",
    "tokens",
    "heads",
    "genes",
    "integration",
    "ontology",
]
"""Parts of the package whose text is checked; the others join when they are rewritten."""

_PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(p for p in sorted((ROOT / "docs").rglob("*.md")) if not {"generated", "_build"} & {*p.parts}),
    *sorted((ROOT / "tutorials").glob("*.md")),
]
_TUTORIALS = sorted((ROOT / "tutorials").glob("[0-9]*.py"))
_PATTERNS = {
    re.compile(re.sub(r"(?<!\\) ", r"\\s+", left), re.I): new for left, new in LEFT.items()
}


def found_in(text: str, plain: str = r"(?!)") -> list[str]:
    """Return each turn of phrase that is found, with its line and what to write."""
    text = re.sub(plain, lambda match: " " * len(match[0]), text)
    return [
        f"line {text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}; write: {new}"
        for pattern, new in _PATTERNS.items()
        for match in pattern.finditer(text)
    ]


def page_text(page: Path) -> str:
    """Blank code blocks and tables of results."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", lambda m: "\n" * m[0].count("\n"), text, flags=re.S | re.M)
    if page.name == "benchmarks.md":
        text = re.sub(r"^\|.*", "", text, flags=re.M)
    return text


def source_text(file: Path, kinds: Iterable[str] = ("comment", "string")) -> str:
    """Keep comments and strings on their lines; blank the code."""
    lines: dict[int, list[str]] = {}
    text = file.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and "comment" in kinds:
            pieces = [token.string.lstrip("# ")]
        elif "string" in kinds and token.type == tokenize.STRING:
            pieces = _value(token.string).splitlines()
        elif "string" in kinds and token.type == getattr(tokenize, "FSTRING_MIDDLE", -1):
            pieces = token.string.splitlines()
        else:
            continue
        for line, piece in enumerate(pieces, token.start[0]):
            lines.setdefault(line, []).append(piece)
    return "\n".join(" ".join(lines.get(i, [])) for i in range(1, text.count("\n") + 2))


def _value(literal: str) -> str:
    try:
        value = ast.literal_eval(literal)
    except (SyntaxError, ValueError):  # an f-string before Python 3.12
        value = literal
    return value if isinstance(value, str) else ""


def room_files(room: str) -> list[Path]:
    path = SRC / room
    return [path] if path.suffix else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages(page: Path) -> None:
    assert not found_in(page_text(page))


@pytest.mark.parametrize("script", _TUTORIALS, ids=lambda script: script.stem)
def test_tutorials(script: Path) -> None:
    assert not found_in(source_text(script, ["comment"]))


@pytest.mark.parametrize("room", ROOMS)
def test_package(room: str) -> None:
    found = {}
    for file in room_files(room):
        name = str(file.relative_to(SRC))
        if left := found_in(source_text(file), EXCEPTIONS.get(name, r"(?!)")):
            found[name] = left
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "The run goes on after whatever stopped it.",
        "It stands in the table, beside a PCA.",
        "Each cell is a sentence of genes.",
        "Scaled data are refused.",
        "Predictions rest on next to\nnothing.",
        "A checkpoint of one's own.",
    ],
)
def test_what_we_left_is_found(text: str) -> None:
    assert found_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "The call resumes where it stopped.",
        "Two kinds of T cell cannot be told apart.",
        "A sentence with one idea.",
        "There is no table of scores.",
    ],
)
def test_a_word_in_its_plain_sense_is_not(text: str) -> None:
    assert not found_in(text)


def test_the_glossary_has_the_terms() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\| ([^|]+) \|", page, flags=re.M)[2:]
    assert terms == sorted(terms, key=lambda term: term.strip('"').lower())
    assert len(terms) >= 25
