"""Gene names of a data set matched to the genes of a model."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .vocab import FIRST_GENE, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

STATUSES = ("id", "symbol", "alias", "ambiguous", "duplicate", "unknown")
"""What can become of a gene; the first three have a token, best match first."""

_LOOKS = {
    r"ENSMUS[GTP]\d+.*": "look like mouse Ensembl ids, and the model knows human genes",
    r"ENS[TP]\d+.*": "look like transcripts or proteins, not genes",
    r"ENSG\d+.*": "are human Ensembl ids, but none that the model knows",
    r"ENS[A-Z]+G\d+.*": "look like Ensembl ids of another species than human",
    r"\d+(\.0)?": "are numbers: Entrez ids, or the names were lost",
    r"(.*[^ACGTN])?[ACGTN]{8,}(-\d+)?(_.*)?": "look like cell barcodes: is the matrix transposed?",
    r"(hg|mm|GRC[hm])\d+_+.*": "have the name of a genome before the gene",
    r"[A-Z]\d*[a-z][A-Za-z0-9.-]*": (
        "look like mouse symbols (title case), and the model knows human genes"
    ),
}

# predicted and RIKEN genes, and the mouse's MHC; of human genes hardly one is called so
_UPPER_MOUSE = re.compile(r"GM\d{4,}|\d{4,}[A-Z]\d\dRIK|H2-[A-Z0-9]+")
_MANY_MOUSE = 20
_UNKNOWN = -2  # beside -1, which the vocabulary has for a name of several genes
_VERSION = re.compile(r"(ENS[A-Z]*G\d{11})\.\d+\w*")


@dataclass(frozen=True, eq=False)
class GeneMatch:
    """For each gene of a data set: its token, its median, and how it was matched.

    Parameters
    ----------
    token
        ``(n_vars,)`` int32, -1 for a gene that is not used.
    median
        ``(n_vars,)`` float64, the model's non-zero median, NaN for a gene that is not used.
    status
        ``(n_vars,)`` str: ``"id"``, ``"symbol"`` or ``"alias"`` (used); ``"ambiguous"`` (a name
        of several genes), ``"duplicate"`` (the gene is already taken by a better or earlier
        column) or ``"unknown"`` (not used).
    """

    token: np.ndarray
    median: np.ndarray
    status: np.ndarray

    @property
    def counts(self) -> dict[str, int]:
        """Number of genes of each status, zeros included."""
        found = Counter(self.status.tolist())
        return {status: found[status] for status in STATUSES}


def match(names: Sequence[str], vocab: Vocabulary, *, where: str = "adata.var_names") -> GeneMatch:
    """Find each gene of a data set in the model's vocabulary, by Ensembl id, symbol or alias.

    The version of an Ensembl id is ignored; the case of a symbol is not. Where two columns are
    the same gene, the better match (id, then symbol, then alias; then the first) keeps it.

    Parameters
    ----------
    names
        ``(n_vars,)`` unique Ensembl ids or symbols, mixed as you like.
    vocab
        Genes of the model.
    where
        What to call the names in an error.

    Raises
    ------
    InputError
        If a name occurs twice, or no name (or not 1 in 100) is in the vocabulary; the message
        says what the names look like.

    Examples
    --------
    >>> from genemamba.tokens import Vocabulary
    >>> ids = ["ENSG00000010610", "ENSG00000177455"]
    >>> vocab = Vocabulary(ids, ["CD4", "CD19"], median=[1.5, 2.0], alias=["", ""])
    >>> match(["CD19", "ENSG00000010610.15", "Cd4"], vocab).status.tolist()
    ['symbol', 'id', 'unknown']
    """
    names = [str(name) for name in names]
    _refuse_repeats(names, where)
    gene, status = look_up(names, vocab)
    _drop_duplicates(gene, status)
    used = gene >= 0
    unknown = [names[i] for i in np.flatnonzero(~used)]
    mouse = [name for name in unknown if _UPPER_MOUSE.fullmatch(name)]
    if len(mouse) >= _MANY_MOUSE:
        raise InputError(
            f"{len(mouse)} of {len(names)} names in {where} are mouse genes in upper case, "
            f"{_some(mouse)}",
            "The model knows human genes: name the columns by human orthologues.",
        )
    # a few hits by chance, as mouse symbols have, are no match
    share = used.sum() / max(1, min(len(names), vocab.n_genes))
    if share <= 0.01 or (share < 0.1 and _guess(names)):
        raise InputError(
            f"{used.sum() or 'none'} of {len(names)} names in {where} are genes of the model: "
            f"{diagnose(names)}",
            f"Name the columns by human Ensembl ids ({vocab.ensembl_id[0]}) or gene symbols "
            f"({_example_symbol(vocab)}), or give the column of adata.var that does.",
        )
    token = np.where(used, gene + FIRST_GENE, -1).astype(np.int32)
    median = np.where(used, vocab.median[gene], np.nan)
    return GeneMatch(token, median, status)


def look_up(names: Sequence[str], vocab: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Return the gene of each name and how it was found; -1 if it is unknown or ambiguous."""
    plain = [_without_version(name) if name.startswith("ENS") else name for name in names]
    known = vocab.name_to_gene
    found = np.array([known.get(name, _UNKNOWN) for name in plain], dtype=np.int64)
    gene, text = np.maximum(found, -1), np.array(plain, dtype=str)
    status = np.select(
        [found == _UNKNOWN, gene < 0, text == vocab.ensembl_id[gene], text == vocab.symbol[gene]],
        ["unknown", "ambiguous", "id", "symbol"],
        "alias",
    )
    return gene, status


def _without_version(name: str) -> str:
    versioned = _VERSION.fullmatch(name)
    return versioned[1] if versioned else name


def _drop_duplicates(gene: np.ndarray, status: np.ndarray) -> None:
    grade = np.select([status == better for better in STATUSES], range(len(STATUSES)))
    best_first = np.lexsort((grade, gene))  # stable: the first column wins among equals
    best_first = best_first[gene[best_first] >= 0]
    repeat = best_first[1:][gene[best_first[1:]] == gene[best_first[:-1]]]
    gene[repeat], status[repeat] = -1, "duplicate"


def _refuse_repeats(names: list[str], where: str) -> None:
    if len(set(names)) < len(names):
        repeated = [name for name, n in Counter(names).items() if n > 1]
        raise InputError(
            f"{where} has {len(repeated)} names that occur more than once, {_some(repeated)}",
            "Sum or drop the repeated columns. Making names unique by a suffix would hide "
            "these genes from the model.",
        )


def diagnose(names: list[str]) -> str:
    """Say what names that match nothing look like, with examples."""
    if not names:
        return "there are no names"
    guess = _guess(names) or "look like neither human gene symbols nor Ensembl ids"
    return f"they {guess}; {_some(names)}"


def _guess(names: list[str]) -> str:
    """Say what most names are if they are no human genes."""
    for pattern, guess in _LOOKS.items():
        if sum(bool(re.fullmatch(pattern, name)) for name in names) > len(names) / 2:
            return guess
    return ""


def _some(names: list[str]) -> str:
    return "such as " + ", ".join(repr(name) for name in names[:3])


def _example_symbol(vocab: Vocabulary) -> str:
    return str(next((symbol for symbol in vocab.symbol if symbol), "CD4"))
