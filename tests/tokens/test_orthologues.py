"""Genes of other organisms find the human gene of the table, and only that."""

from __future__ import annotations

import gzip
from importlib.resources import files

import numpy as np
import pytest

from genemamba.errors import InputError
from genemamba.tokens.orthologues import ORGANISMS, Orthologues

PACKAGE = files("genemamba.tokens")


def rows(organism: str) -> list[list[str]]:
    text = gzip.decompress((PACKAGE / f"orthologues_{organism}.tsv.gz").read_bytes()).decode()
    return [line.split("\t") for line in text.splitlines()[3:]]


def test_a_thousand_genes_by_symbol_and_by_id() -> None:
    mouse = Orthologues.load("mouse")
    table = [row for row in rows("mouse") if row[3]]
    for i in np.random.default_rng(0).choice(len(table), 1_000, replace=False):
        human, _, symbol, gene_id, _, former = table[i]
        names = [symbol, f"{symbol}-1", gene_id, f"{gene_id}.7", f"{symbol}_{gene_id}"]
        names += [symbol.upper(), *filter(None, former.split("|"))]
        found, how = mouse.human(names)
        assert set(found) == {human}, (names, found)
        assert how[:4].tolist() == ["symbol", "symbol", "id", "id"]
        assert set(how[6:]) <= {"alias"}


@pytest.mark.parametrize("organism", ORGANISMS[1:])
def test_a_table_is_one_to_one_and_says_where_it_is_from(organism: str) -> None:
    table = rows(organism)
    symbols = [row[2] for row in table]
    assert len(set(symbols)) == len(symbols) > 15_000
    ids = [row[3] for row in table if row[3]]
    assert len(set(ids)) == len(ids)
    former = [name.casefold() for row in table for name in row[5].split("|") if name]
    assert len(set(former)) == len(former)
    assert not set(former) & {symbol.casefold() for symbol in symbols}
    found = Orthologues.load(organism)
    assert "sha256" in found.source and ("Ensembl" in found.source)
    assert found is Orthologues.load(organism)


def test_the_tables_are_small() -> None:
    sizes = [len((PACKAGE / f"orthologues_{o}.tsv.gz").read_bytes()) for o in ORGANISMS[1:]]
    assert sum(sizes) < 600_000


def test_what_has_no_orthologue_has_none() -> None:
    found, how = Orthologues.load("mouse").human(["Gm42418", "Xist", "ENSMUSG00000099999", ""])
    assert not any(found)
    assert set(how) == {"unknown"}


def test_macaque_and_pig_have_symbols_of_their_own() -> None:
    for organism in ("macaque", "pig"):
        assert Orthologues.load(organism).human(["COX1", "CD3E"])[0].tolist() == ["MT-CO1", "CD3E"]


def test_there_is_no_other_table() -> None:
    with pytest.raises(InputError, match="no table of rat"):
        Orthologues.load("rat")
