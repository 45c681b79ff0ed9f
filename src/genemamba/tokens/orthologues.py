"""Human orthologues of the genes of other organisms."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

import numpy as np

from ..errors import InputError
from .genes import plain_name

ORGANISMS = ("human", "mouse", "macaque", "pig")
"""Organisms whose genes can be read; all but the first through a table."""


@dataclass(frozen=True, eq=False)
class Orthologues:
    """Genes of an organism that have one human orthologue, which has no other.

    A gene with several human orthologues, or that shares one, is in no table: it is left out. Those
    of the mouse are known, so that they can be counted.
    """

    organism: str
    source: str
    """Where the table is from, its release, and the start of its SHA-256."""
    ids: dict[str, str]
    """Human gene of each Ensembl id."""
    symbols: dict[str, str]
    """Human gene of each symbol."""
    former: dict[str, str]
    """Human gene of each former symbol, casefolded."""
    folded: dict[str, str]
    """Human gene of each symbol, casefolded."""
    human_symbols: dict[str, str]
    """Symbol of each human gene."""

    @staticmethod
    def load(organism: str) -> Orthologues:
        """Read a table of the package, once per process.

        >>> mouse = Orthologues.load("mouse")
        >>> mouse.human(["Cd3e", "ENSMUSG00000032093.8", "Atp5b", "Xist-1", "Gm42418"])[0].tolist()
        ['ENSG00000198851', 'ENSG00000198851', 'ENSG00000110955', '', '']
        """
        return _shipped(organism)

    def human(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the human gene of each name, "" for none, and how it was found.

        By Ensembl id, symbol, or former symbol. If no symbol is written so, its case is ignored.
        """
        found = [self._one(plain_name(name, self._known)) for name in names]
        gene, status = zip(*found, strict=True) if found else ((), ())
        return np.array(gene, dtype=str), np.array(status, dtype=str)

    def knows(self, names: Sequence[str]) -> np.ndarray:
        """Whether each name is a current id or symbol, in this case."""
        known = self._known
        return np.array([plain_name(name, known) in known for name in names], dtype=bool)

    def one_to_many(self, names: Sequence[str]) -> np.ndarray | None:
        """Whether each name is listed as a gene with several human orthologues, or that shares one.

        None where there is no list. Case is ignored.

        >>> Orthologues.load("mouse").one_to_many(["H3f3b", "ENSMUSG00000061232.4", "Cd3e", "Xist"])
        array([ True,  True, False, False])
        >>> Orthologues.load("pig").one_to_many(["CD3E"])
        """
        many = _shipped_many(self.organism)
        if not many:
            return None
        plain = [plain_name(name.upper(), many) for name in names]
        return np.array([name in many for name in plain], dtype=bool)

    @cached_property
    def _known(self) -> dict[str, str]:
        return self.ids | self.symbols

    def _one(self, name: str) -> tuple[str, str]:
        if name in self.ids:
            return self.ids[name], "id"
        if name in self.symbols:
            return self.symbols[name], "symbol"
        folded = name.casefold()
        if folded in self.folded:
            return self.folded[folded], "symbol"
        if folded in self.former:
            return self.former[folded], "alias"
        return "", "unknown"


@cache
def _shipped(organism: str) -> Orthologues:
    text = _text(f"orthologues_{organism}")
    if not text:
        raise InputError(f"there is no table of {organism} genes", f"use one of {ORGANISMS}")
    source, _, _, *lines = text.decode().splitlines()
    found = Orthologues(
        organism,
        f"{source.removeprefix('# source: ')} (sha256 {hashlib.sha256(text).hexdigest()[:12]})",
        *({}, {}, {}, {}, {}),
    )
    twice = set()
    for line in lines:
        human, human_symbol, symbol, gene_id, _, former = line.split("\t")
        human = human or symbol
        found.human_symbols[human] = human_symbol or symbol.upper()
        found.symbols[symbol] = human
        if gene_id:
            found.ids[gene_id] = human
        found.former.update(dict.fromkeys(filter(None, former.casefold().split("|")), human))
        if symbol.casefold() in found.folded:
            twice.add(symbol.casefold())
        found.folded[symbol.casefold()] = human
    for folded in twice:  # case alone tells them apart
        del found.folded[folded]
    return found


@cache
def _shipped_many(organism: str) -> dict[str, str]:
    """Return symbols and ids of genes that are one-to-many, in upper case; values are empty."""
    lines = _text(f"one_to_many_{organism}").decode().upper().splitlines()[3:]
    return dict.fromkeys((name for line in lines for name in line.split("\t") if name), "")


def _text(name: str) -> bytes:
    """Read a file of the package, nothing if there is none."""
    file = files("genemamba.tokens") / f"{name}.tsv.gz"
    return gzip.decompress(file.read_bytes()) if file.is_file() else b""
