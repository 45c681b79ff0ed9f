"""Match gene names of a data set to the genes of a model."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, shown
from .vocab import FIRST_GENE, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .orthologues import Orthologues

STATUSES = ("id", "symbol", "alias", "duplicate", "ambiguous", "unknown", "other")
"""Possible statuses of a column; the first four have a token, best match first."""

_LOWER = "are in lower case, as zebrafish symbols are: another species, which cannot be read"
_LOOKS = {
    r"ENSMUS[GTP]\d+.*": "look like mouse Ensembl ids, and the model has human genes",
    r"ENS[TP]\d+.*": "look like transcripts or proteins, not genes",
    r"ENSG\d+.*": "are human Ensembl ids, but none of the model",
    r"ENSDARG\d+.*": "look like zebrafish Ensembl ids: another species, which cannot be read",
    r"ENSRNOG\d+.*": "look like rat Ensembl ids: another species, which cannot be read",
    r"FBgn\d+.*": "look like fly genes: another species, which cannot be read",
    r"ENS[A-Z]+G\d+.*": "look like Ensembl ids of another species than human",
    r"(?i:genes?|row|features?|var|[gvx])[_ .-]?\d+": "are numbered: the names were lost",
    r"\d+(\.0)?": "are numbers: Entrez ids, or the names were lost",
    r"(.*[^ACGTN])?[ACGTN]{8,}(-\d+)?(_.*)?": "look like cell barcodes: is the matrix transposed?",
    r"(hg|mm|GRC[hm])\d+_+.*": "have the name of a genome before the gene",
    r"[A-Z]\d*[a-z][A-Za-z0-9.-]*": (
        "look like mouse symbols (title case), and the model has human genes"
    ),
    r"[a-z][a-z0-9_.:()-]*": _LOWER,
    r"Y[A-P][LR]\d{3}[CW](-[A-Z])?|Q0\d{3}|[A-Z]{3}\d{1,3}": (
        "look like yeast genes: another species, which cannot be read"
    ),
}
_MOUSE = re.compile(r".*ENSMUSG\d{11}.*|[A-Z]\d*[a-z][A-Za-z0-9.-]*")
_YEAST = re.compile(r"Y[A-P][LR]\d{3}[CW](-[A-Z])?")  # some of the others are human aliases

# predicted and RIKEN genes, and the mouse's MHC; hardly any human gene has such a name
_UPPER_MOUSE = re.compile(r"GM\d{4,}|\d{4,}[A-Z]\d\dRIK|H2-[A-Z0-9]+")
_MANY_MOUSE = 20
_UNKNOWN = -2  # -1 is an ambiguous name in the vocabulary
_ID = re.compile(r"(?<![A-Za-z0-9])(?:ENS[A-Z]*G\d{11}|ENSGR\d{10})(?![A-Za-z0-9])")
# version, copy of a pseudoautosomal gene on Y, suffix that makes a name unique
_ADDED = re.compile(r"(?:\.\d+)?(?:[-_]PAR[-_]Y)?(?:[-.|]\d+)?")
_SYMBOL = re.compile(r"(.+?)(?:[-_]PAR[-_]Y)?(?:[-.|]\d+)?")
_LONGEST = 200  # characters of a name that are examined


@dataclass(frozen=True, eq=False)
class GeneMatch:
    """For each gene of a data set: its token, its median, and how it was matched."""

    token: np.ndarray
    """``(n_vars,)`` int32, -1 for a gene that is not used."""
    median: np.ndarray
    """``(n_vars,)`` float64, the model's non-zero median, NaN for a gene that is not used."""
    status: np.ndarray
    """``(n_vars,)`` str: ``"id"``, ``"symbol"`` or ``"alias"``; ``"duplicate"`` (another column of
    the same gene, whose counts are added); or not used: ``"ambiguous"`` (a name of several genes),
    ``"unknown"``, or ``"other"`` (an antibody, a guide, a peak)."""
    example: tuple[str, ...] = ()
    """Two names of one gene, if any."""
    organism: str = "human"
    table: str = ""
    """Source of the table that led to human genes, if they are of another organism."""
    without: np.ndarray | None = None
    """``(n_vars,)`` bool, which genes have no human orthologue; None without a table."""
    many: np.ndarray | None = None
    """``(n_vars,)`` bool, which genes have several human orthologues or share one, and are left
    out; None where this is not known. They are not among those of `without`."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of genes of each status, zeros included."""
        found = Counter(self.status.tolist())
        return {status: found[status] for status in STATUSES}

    @property
    def added(self) -> str:
        """Text on columns that are the same gene, if any."""
        if not self.example:
            return ""
        return (
            f"{self.counts['duplicate']:,} of {len(self.status):,} columns name genes that others "
            f"name, too (such as {' and '.join(self.example)}): counts of one gene are added"
        )

    @property
    def tokens(self) -> np.ndarray:
        """The tokens of the matched genes, ascending."""
        return np.unique(self.token[self.token >= 0])

    def among(self, tokens: np.ndarray) -> GeneMatch:
        """Use only these genes, as if the others were unknown."""
        out = ~np.isin(self.token, tokens)
        return replace(
            self,
            token=np.where(out, -1, self.token).astype(self.token.dtype),
            median=np.where(out, np.nan, self.median),
            status=np.where(out & (self.token >= 0), "unknown", self.status),
        )


def match(
    names: Sequence[str],
    vocab: Vocabulary,
    *,
    where: str = "adata.var_names",
    genes: np.ndarray | None = None,
    table: Orthologues | None = None,
) -> GeneMatch:
    """Match genes of a data set to a vocabulary, by Ensembl id, symbol or alias.

    Versions of Ensembl ids and suffixes that make names unique (``_PAR_Y``, ``-1``) are ignored.
    The case of symbols matters. Of several columns of one gene, the best match (id, then symbol,
    then alias; then the first) gets its status, the others are duplicates.

    Names may be mixed, or joined (``ENSG…_CD4``). `genes` is ``(n_vars,)`` bool, which of them are
    genes; `where` is what they are called in errors. A `table` leads from the names to human genes.
    If less than 1 % match, the error describes what they look like.

    >>> ids = ["ENSG00000010610", "ENSG00000177455"]
    >>> vocab = Vocabulary(ids, ["CD4", "CD19"], median=[1.5, 2.0], alias=["", ""])
    >>> match(["CD19", "ENSG00000010610.15", "Cd4", "CD19-1"], vocab).status.tolist()
    ['symbol', 'id', 'unknown', 'duplicate']
    """
    names = [str(name) for name in names]
    if genes is not None:
        found = match([names[i] for i in np.flatnonzero(genes)], vocab, where=where, table=table)
        return _spread(found, genes)
    without = many = None
    if table is None:
        gene, status = look_up(names, vocab)
    else:
        gene, how, without = look_up_through(table, names, vocab)
        if (many := table.one_to_many(names)) is not None:
            many &= without  # some have a former name of a gene that is in the table
            without &= ~many
        status = np.where(gene >= 0, how, "unknown").astype("<U9")
    example = _mark_duplicates(gene, status, names)
    used = gene >= 0
    if table is None:
        _refuse_others([names[i] for i in np.flatnonzero(~used)], len(names), where)
    # a few chance hits, as with mouse symbols, are no match
    n_found = len(np.unique(gene[used]))
    share = n_found / max(1, min(len(names), vocab.n_genes))
    foreign = table is None and share < 0.1 and guess(names) not in ("", _LOWER)
    if share <= 0.01 or foreign:  # names of any kind may be in lower case
        raise _no_match(names, n_found, vocab, where, table)
    token = np.where(used, gene + FIRST_GENE, -1).astype(np.int32)
    median = np.where(used, vocab.median[gene], np.nan)
    found = GeneMatch(token, median, status, example, without=without, many=many)
    return found if table is None else replace(found, organism=table.organism, table=table.source)


def _spread(found: GeneMatch, genes: np.ndarray) -> GeneMatch:
    """Place what was found of the genes among columns that are none."""
    token, median = np.full(len(genes), -1, np.int32), np.full(len(genes), np.nan)
    status = np.full(len(genes), "other", dtype=found.status.dtype)
    token[genes], median[genes], status[genes] = found.token, found.median, found.status
    without, many = (_among(own, genes) for own in (found.without, found.many))
    return replace(found, token=token, median=median, status=status, without=without, many=many)


def _among(own: np.ndarray | None, genes: np.ndarray) -> np.ndarray | None:
    """Place marks of the genes among columns that are none."""
    if own is None:
        return None
    out = np.zeros(len(genes), dtype=bool)
    out[genes] = own
    return out


def _refuse_others(unknown: list[str], n_names: int, where: str) -> None:
    """Raise if many names are those of mouse genes in upper case, or of yeast."""
    mouse = [name for name in unknown if _UPPER_MOUSE.fullmatch(name)]
    if len(mouse) >= _MANY_MOUSE:
        raise InputError(
            f"{len(mouse)} of {n_names} names in {where} are mouse genes in upper case, "
            f"{some(mouse)}",
            "If these are cells of a mouse, use organism='mouse': genes are then read through "
            "their human orthologues, in any case.",
        )
    yeast = [name for name in unknown if _YEAST.fullmatch(name)]
    if len(yeast) >= _MANY_MOUSE:
        raise InputError(
            f"{len(yeast)} of {n_names} names in {where} are yeast genes, {some(yeast)}",
            "The model reads human genes, and those of mouse, macaque and pig.",
        )


def _no_match(
    names: list[str], n_found: int, vocab: Vocabulary, where: str, table: Orthologues | None
) -> InputError:
    what = f"{n_found or 'none'} of {len(names)} names in {where} are genes of the model"
    if table is not None:
        kinds = "symbols or Ensembl ids" if table.ids else "symbols"
        return InputError(
            f"{what} through the table of {table.organism} genes: {diagnose(names)}",
            f"Name the columns by {kinds} of {table.organism} genes, or give the column of "
            "adata.var that does as gene_ids.",
        )
    symbol = next(filter(None, vocab.symbol.tolist()), "CD4")
    return InputError(
        f"{what}: {diagnose(names)}",
        f"Name the columns by human Ensembl ids ({vocab.ensembl_id[0]}) or gene symbols "
        f"({symbol}), or give the column of adata.var that does.",
    )


def look_up(names: Sequence[str], vocab: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Return the gene of each name, -1 if unknown or ambiguous, and how it was matched."""
    known = vocab.name_to_gene
    plain = [plain_name(name, known) for name in names]
    found = np.array([known.get(name, _UNKNOWN) for name in plain], dtype=np.int64)
    gene = np.maximum(found, -1)
    # leave out unknown names: numpy gives all texts the width of the longest
    text = np.array([name if name in known else "" for name in plain], dtype=str)
    status = np.select(
        [found == _UNKNOWN, gene < 0, text == vocab.ensembl_id[gene], text == vocab.symbol[gene]],
        ["unknown", "ambiguous", "id", "symbol"],
        "alias",
    )
    return gene, status


def look_up_through(
    table: Orthologues, names: Sequence[str], vocab: Vocabulary
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gene of each name of another organism, how it was found, and which have none.

    By the id of the human gene, then by its symbol.
    """
    human, how = table.human(names)
    gene = look_up(human.tolist(), vocab)[0]
    symbols = [table.human_symbols.get(name, "") for name in human.tolist()]
    return np.where(gene < 0, look_up(symbols, vocab)[0], gene), how, human == ""


def looks_mouse(name: str) -> bool:
    """Whether a name is written as those of mouse genes are."""
    return bool(_MOUSE.fullmatch(name[:_LONGEST]))


def plain_name(name: str, known: Mapping[str, object]) -> str:
    """Remove what annotations and programs add to gene names."""
    if name in known or len(name) > _LONGEST:
        return name
    ids = _ID.findall(name)
    if len(ids) == 1:
        plain = ids[0].replace("ENSGR", "ENSG0")
        before, after = name.split(ids[0])
        after = after[_ADDED.match(after).end() :]  # type: ignore[union-attr]
        # "ENSG…_CD4", or "ENSG…-CD4" from Seurat; but "ENSG…-U" are unspliced reads
        by_hyphen = "-" in before[-1:] + after[:1]
        if not by_hyphen or known.get((before + after).strip("-")) == known.get(plain, _UNKNOWN):
            return plain
    base = _SYMBOL.fullmatch(name)
    return base[1] if base and base[1] in known else name


def _mark_duplicates(gene: np.ndarray, status: np.ndarray, names: list[str]) -> tuple[str, ...]:
    """Mark all columns of a gene except the best as duplicates; return two of its names."""
    grade = np.select([status == better for better in STATUSES], range(len(STATUSES)))
    best_first = np.lexsort((grade, gene))  # stable: the first column wins among equals
    best_first = best_first[gene[best_first] >= 0]
    again = np.flatnonzero(gene[best_first[1:]] == gene[best_first[:-1]])
    status[best_first[1:][again]] = "duplicate"
    return tuple(names[i] for i in best_first[again[0] : again[0] + 2]) if len(again) else ()


def diagnose(names: list[str]) -> str:
    """Describe what unmatched names look like, with examples."""
    if not names:
        return "there are no names"
    found = guess(names) or "look like neither human gene symbols nor Ensembl ids"
    return f"they {found}; {some(names)}"


def guess(names: list[str]) -> str:
    """Describe what most names are if they are not human genes."""
    ids = [_ID.search(name[:_LONGEST]) for name in names]
    plain = [found[0] if found else name[:_LONGEST] for found, name in zip(ids, names, strict=True)]
    for pattern, description in _LOOKS.items():
        if sum(bool(re.fullmatch(pattern, name)) for name in plain) > len(names) / 2:
            return description
    return ""


def some(names: list[str]) -> str:
    """Name three of them."""
    return "such as " + ", ".join(shown(name) for name in names[:3])
