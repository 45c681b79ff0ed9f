"""Match gene names to the vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genemamba._files import sha256
from genemamba.cells.counts import is_gene
from genemamba.errors import InputError
from genemamba.tokens import FIRST_GENE, GeneMatch, match
from genemamba.tokens.genes import guess, look_up
from genemamba.tokens.lookup import of_names
from genemamba.tokens.organisms import Named, of_organism
from genemamba.tokens.orthologues import Orthologues

if TYPE_CHECKING:
    from anndata import AnnData

    from genemamba.tokens import Vocabulary


def match_genes(
    var: pd.DataFrame,
    vocab: Vocabulary,
    *,
    gene_ids: str | Sequence[str] | None,
    organism: str = "auto",
    cells: pd.Index | None = None,
) -> GeneMatch:
    """Find the genes of a table in the vocabulary; an error names a better column.

    Genes of another organism are found through their human orthologues. With the names of `cells`
    an error also says if these are the genes.
    """
    var = var.to_memory() if hasattr(var, "to_memory") else var
    names, where = _names(var, gene_ids)
    genes = is_gene(var)
    plain, table = _of_organism(names, genes, vocab, organism, where)
    try:
        return match(plain, vocab, where=where, genes=genes, table=table)
    except InputError as error:
        turned = cells is not None and _share_known(cells, vocab) > 0.1
        fix, also = _better_names(var, vocab, names)
        if fix and "organism=" in error.fix:
            fix = f"{fix}. {error.fix}"
        if turned:
            fix = "the rows are genes: use adata.T"
        raise InputError(error.what + also, fix or error.fix) from None


def _of_organism(
    names: list[str], genes: np.ndarray | None, vocab: Vocabulary, organism: str, where: str
) -> Named:
    """Recognise the organism by the columns that are genes."""
    if genes is None:
        return of_organism(names, vocab, organism, where=where)
    own = np.flatnonzero(genes)
    found = of_organism([names[i] for i in own], vocab, organism, where=where)
    plain = list(names)
    for i, name in zip(own, found.names, strict=True):
        plain[i] = name
    return Named(plain, found.table)


def genes_sha256(genes: GeneMatch) -> str:
    """Hash which column is which gene."""
    return sha256(genes.token.astype("<i4"))


def _share_known(names: Iterable[object], vocab: Vocabulary) -> float:
    plain = [str(name) for name in names]
    return float(np.mean(look_up(plain, vocab)[0] >= 0)) if plain else 0.0


def _names(var: pd.DataFrame, gene_ids: str | Sequence[str] | None) -> tuple[list[str], str]:
    if gene_ids is None:
        return var.index.astype(str).tolist(), "adata.var_names"
    if isinstance(gene_ids, str):
        if gene_ids not in var:
            raise InputError(
                f"gene_ids={gene_ids!r} is not a column of adata.var",
                f"use one of {', '.join(map(repr, var.columns))}" if len(var.columns) else
                "leave out gene_ids: adata.var has no columns",
            )  # fmt: skip
        return var[gene_ids].astype(str).tolist(), f"adata.var[{gene_ids!r}]"
    names = [str(name) for name in gene_ids]
    if len(names) != len(var):
        raise InputError(
            f"gene_ids has {len(names)} names for {len(var)} genes", "give one name per gene"
        )
    return names, "gene_ids"


def own_tokens(adata: AnnData, genes: GeneMatch, where: str, vocab: Vocabulary) -> np.ndarray:
    """Return the token of each gene of ``adata.var``, -1 for none, if `genes` are those of `where`.

    Genes of ``adata.raw`` are found by name; by gene, if they were renamed since.
    """
    if where != "adata.raw.X":
        return genes.token
    raw = pd.Series(genes.token, adata.raw.var_names)
    raw = raw[~raw.index.duplicated()]
    token = raw.reindex(adata.var_names).fillna(-1).to_numpy(dtype=np.int64)
    names = adata.var_names.astype(str).tolist()
    renamed = of_names(names, vocab, genes.organism)[0] + FIRST_GENE
    return np.where((token < 0) & np.isin(renamed, genes.tokens), renamed, token)


def _better_names(var: pd.DataFrame, vocab: Vocabulary, names: list[str]) -> tuple[str, str]:
    """Name the column of ``var`` in which most genes are known, or that tells the species.

    The symbols of another species are known in upper case, too: such a column is none. Those of a
    mouse are known as they are.
    """
    columns = {column: var[column].astype(str).tolist() for column in var.columns}
    columns = {name: own for name, own in columns.items() if len(set(own)) > len(own) / 2}
    foreign = [other for other in [names, *columns.values()] if _is_foreign(other)]
    best, found = "", 0.1
    for column, own in columns.items():
        share, looks = _share_known(own, vocab), guess(own)
        usable = looks.startswith("are human") or not any(_alike(own, o) for o in foreign)
        if "mouse" in looks:
            share, usable = float(Orthologues.load("mouse").knows(own).mean()), True
        if share > found and usable:
            best, found = column, share
    if best:
        return f"adata.var[{best!r}] holds names the model knows: use gene_ids={best!r}", ""
    told = [c for c, own in columns.items() if _is_foreign(own) and not _is_foreign(names)]
    return "", "".join(f"; those in adata.var[{c!r}] {guess(columns[c])}" for c in told[:1])


def _is_foreign(names: list[str]) -> bool:
    species = guess(names)
    return "mouse" in species or "species" in species


def _alike(names: list[str], foreign: list[str]) -> bool:
    """Whether names may be those of another species in upper case; unknown for ids."""
    same = np.mean([a.upper() == b.upper() for a, b in zip(names, foreign, strict=True)])
    return bool(same > 0.5) or foreign[0].startswith("ENS")
