"""Organisms are recognised by the names of genes, or the names contradict what was said."""

from __future__ import annotations

from typing import Any

import pytest

from genemamba import models
from genemamba.errors import InputError
from genemamba.tokens import Vocabulary
from genemamba.tokens.organisms import check_organism, of_organism
from genemamba.tokens.orthologues import Orthologues


@pytest.fixture(scope="module")
def vocab() -> Vocabulary:
    return models.vocabulary("genemamba-mini")


MOUSE = Orthologues.load("mouse")
SYMBOLS = list(MOUSE.symbols)[:2_000]
UPPER = [*map(str.upper, SYMBOLS), *(f"GM{i}" for i in range(10_000, 10_100))]
IDS = [f"{name}.3" for name in list(MOUSE.ids)[:500]]


def human(vocab: Vocabulary, n: int = 2_000) -> list[str]:
    return [name for name in vocab.symbol.tolist() if name][:n]


def test_names_say_the_organism(vocab: Vocabulary) -> None:
    for names, organism in ((SYMBOLS, "mouse"), (IDS, "mouse"), (human(vocab), "human")):
        for given in ("auto", organism):
            plain, table = of_organism(names, vocab, given)
            assert plain == names
            assert (table.organism if table else "human") == organism
    assert of_organism(vocab.ensembl_id.tolist(), vocab).table is None
    assert of_organism(UPPER, vocab, "mouse").table is MOUSE


@pytest.mark.parametrize("prefix", ["GRCh38_", "hg19_", "mm10___", "GRCm39_"])
def test_the_genome_before_every_name_goes(vocab: Vocabulary, prefix: str) -> None:
    organism = "human" if prefix.lower()[0] in "h" or "h" in prefix else "mouse"
    names = human(vocab) if organism == "human" else SYMBOLS
    plain, table = of_organism([prefix + name for name in names], vocab)
    assert plain == names
    assert (table.organism if table else "human") == organism
    other = {"human": "mouse", "mouse": "human"}[organism]
    with pytest.raises(InputError, match=f"organism='{other}', but .* are {organism} genes"):
        of_organism([prefix + name for name in names], vocab, other)


CONTRADICTIONS = {
    "human on mouse symbols": ("human", SYMBOLS, "are mouse genes", "organism='mouse'"),
    "human on mouse ids": ("human", IDS, "are mouse genes", "organism='mouse'"),
    "pig on mouse": ("pig", SYMBOLS, "are mouse genes", "organism='mouse'"),
    "rat": ("auto", [*SYMBOLS, *(f"RGD{i}" for i in range(10**6, 10**6 + 30))], "rat", "'mouse'"),
    "half and half": ("auto", [*SYMBOLS[:500], "HUMAN"], "of two organisms", "adata[cells,"),
    "half and half, said": ("mouse", [*SYMBOLS[:500], "HUMAN"], "of two organisms", "adata[cells,"),
    "mouse on human symbols": ("mouse", ["HUMAN"], "are human genes", "organism='human'"),
    "mouse on human ids": ("mouse", ["IDS"], "are human genes", "organism='human'"),
    "two genomes": (
        "auto", ["GRCh38_CD4", "GRCh38_CD19", "mm10_Cd4"], "2 of human (GRCh38_…) and 1 of mouse",
        "own = adata.var_names.str.startswith('GRCh38_')"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_what_is_said_and_what_is_seen(vocab: Vocabulary, case: str) -> None:
    organism, names, what, fix = CONTRADICTIONS[case]
    more = {"HUMAN": human(vocab), "IDS": vocab.ensembl_id.tolist()[:2_000]}
    names = [other for name in names for other in more.get(name, [name])]
    with pytest.raises(InputError) as refused:
        of_organism(names, vocab, organism)
    assert what in refused.value.what
    assert fix in refused.value.fix


@pytest.mark.parametrize(
    ("value", "near"),
    [("mose", "'mouse'"), ("Mus musculus", "'mouse'"), ("rhesus_macaque", "'macaque'"),
     ("Homo_sapiens", "'human'"), ("zebrafish", "use one of"), (None, "use one of")],
)  # fmt: skip
def test_the_nearest_organism_is_named(value: Any, near: str) -> None:
    with pytest.raises(InputError, match="is not an organism") as refused:
        check_organism(value)
    assert near in refused.value.fix
