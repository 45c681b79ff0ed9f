"""Find genes that a user names in a vocabulary, and name genes for a user."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import InputError
from .genes import look_up, look_up_through
from .orthologues import Orthologues
from .vocab import FIRST_GENE, Vocabulary


def find_genes(
    names: Sequence[str],
    vocab: Vocabulary,
    *,
    organism: str = "human",
    argument: str = "genes",
) -> np.ndarray:
    """Return the tokens of genes named by symbol, former symbol or Ensembl id, ``(n,)`` int32.

    Names are those of `organism`, as in the data; human names do as well. Case is ignored where
    it leaves one gene.

    >>> ids = ["ENSG00000010610", "ENSG00000177455"]
    >>> vocab = Vocabulary(ids, ["CD4", "CD19"], median=[1.5, 2.0], alias=["", ""])
    >>> find_genes(["CD19", "cd4"], vocab)
    array([3, 2], dtype=int32)
    >>> find_genes(["Cd19"], vocab, organism="mouse")
    array([3], dtype=int32)
    """
    names = [str(name) for name in names]
    gene, status = as_typed(names, vocab, organism)
    if (gene < 0).any():
        bad = int(np.argmax(gene < 0))
        raise _unknown(names[bad], str(status[bad]), vocab, organism, argument)
    tokens = (gene + FIRST_GENE).astype(np.int32)
    first: dict[int, str] = {}
    for name, token in zip(names, tokens.tolist(), strict=True):
        if token in first:
            raise InputError(
                f"{argument}: {first[token]!r} and {name!r} are one gene", "name each gene once"
            )
        first[token] = name
    return tokens


def gene_names(vocab: Vocabulary, organism: str = "human") -> np.ndarray:
    """Return one name for each gene, ``(n_genes,)`` str: the organism's symbol if it has one.

    A gene whose symbol is unknown or shared with another gene goes by its Ensembl id.

    >>> ids = ["ENSG00000130876", "ENSG00000198851", "ENSG00000999999"]
    >>> vocab = Vocabulary(ids, ["", "CD3E", "NOBODY"], median=[1.5, 2, 3], alias=["", "", ""])
    >>> gene_names(vocab).tolist()
    ['ENSG00000130876', 'CD3E', 'NOBODY']
    >>> gene_names(vocab, "mouse").tolist()
    ['Slc7a10', 'Cd3e', 'NOBODY']
    """
    names = vocab.symbol.astype(object)
    if organism != "human":
        symbols = Orthologues.load(organism).symbols
        gene = look_up_through(Orthologues.load(organism), list(symbols), vocab)[0]
        names[gene[gene >= 0]] = np.array(list(symbols), dtype=object)[gene >= 0]
    _, place, times = np.unique(names.astype(str), return_inverse=True, return_counts=True)
    return np.where((names == "") | (times[place] > 1), vocab.ensembl_id, names).astype(str)


def near(name: str, known: Iterable[str]) -> str:
    """Suggest similar names, ignoring case; an empty string if there are none."""
    folded = {other.casefold(): other for other in known}
    typed = name.casefold()
    found = difflib.get_close_matches(typed, folded, n=20, cutoff=0.6)
    found = sorted(found, key=lambda other: sorted(other) != sorted(typed))[:3]  # swapped letters
    return f"did you mean {', '.join(repr(folded[n]) for n in found)}?" if found else ""


def as_typed(names: list[str], vocab: Vocabulary, organism: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the gene of each name, case ignored where it leaves one, and its status."""
    gene, status = of_names(names, vocab, organism)
    if organism == "human" and (gene < 0).any():  # tables of orthologues ignore case themselves
        gene = np.where(status == "unknown", _in_any_case(names, vocab), gene)
    return gene, status


def of_names(names: list[str], vocab: Vocabulary, organism: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the gene of each name, -1 for none, and the status of the human name."""
    gene, status = look_up(names, vocab)
    if organism == "human":
        return gene, status
    table = Orthologues.load(organism)
    own, _, without = look_up_through(table, names, vocab)
    if (many := table.one_to_many(names)) is not None:
        without &= ~many  # a human gene of that name is not what the data have
    return np.where(without, gene, own), status


def _in_any_case(names: list[str], vocab: Vocabulary) -> np.ndarray:
    """Return the one gene of each name whatever its case, -1 if there is none or several."""
    genes: dict[str, set[int]] = {name.casefold(): set() for name in names}
    for known, gene in vocab.name_to_gene.items():
        if (folded := known.casefold()) in genes:
            genes[folded].add(gene)
    return np.array(
        [min(found) if len(found := genes[name.casefold()]) == 1 else -1 for name in names],
        dtype=np.int64,
    )


def _unknown(name: str, status: str, vocab: Vocabulary, organism: str, argument: str) -> InputError:
    known: Iterable[str] = vocab.name_to_gene
    if organism != "human":
        table = Orthologues.load(organism)
        known = [*vocab.symbol.tolist(), *table.symbols]  # of names alike, that of the organism
        if (many := table.one_to_many([name])) is not None and many[0]:
            return InputError(
                f"{argument}: {name!r} has no human gene as its one-to-one orthologue, so the "
                "model does not read it",
                "leave it out; gm.pp.check(adata) counts such genes",
            )
    what = "names several genes" if status == "ambiguous" else "is not a gene of the model"
    return InputError(
        f"{argument}: {name!r} {what}",
        near(name, known) or f"use gene symbols or Ensembl ids of {organism} genes",
    )
