"""Counts of an AnnData, ranked."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from genemamba._settings import check_whole
from genemamba.cells.counts import Counts, by_columns, count, is_lazy
from genemamba.cells.names import genes_sha256, match_genes
from genemamba.cells.open import require_anndata
from genemamba.errors import GeneMambaWarning, InputError, shown
from genemamba.tokens import MUCH_LOST, GeneMatch, Ranked, Values, rank_csr
from genemamba.tokens.organisms import check_organism

if TYPE_CHECKING:
    from genemamba.tokens import Vocabulary


@dataclass(frozen=True)
class Reading:
    """How cells are read: the keywords that all tools share."""

    layer: str | None = None
    gene_ids: str | Sequence[str] | None = None
    organism: str = "auto"
    max_tokens: int = 2048
    only: np.ndarray | None = field(default=None, compare=False)
    """Tokens of the genes to read; all that the model knows if None."""

    def __post_init__(self) -> None:
        if self.layer is not None and not isinstance(self.layer, str):
            raise InputError(
                f"layer={shown(self.layer)} is a {type(self.layer).__name__}",
                "give the name of one layer, or 'raw'",
            )
        if self.gene_ids is not None and not isinstance(self.gene_ids, Iterable):
            raise InputError(
                f"gene_ids={shown(self.gene_ids)} is a {type(self.gene_ids).__name__}",
                "give the name of a column of var, or one name per gene",
            )
        check_organism(self.organism)
        check_whole("max_tokens", self.max_tokens)

    def matched(
        self, var: pd.DataFrame, vocab: Vocabulary, cells: pd.Index | None = None
    ) -> GeneMatch:
        """Return the genes of a table that are read."""
        genes = match_genes(var, vocab, gene_ids=self.gene_ids, organism=self.organism, cells=cells)
        return genes if self.only is None else genes.among(self.only)

    @property
    def params(self) -> dict[str, Any]:
        """What a record keeps of it."""
        gene_ids = self.gene_ids if isinstance(self.gene_ids, str) else ""
        return {"layer": self.layer or "", "gene_ids": gene_ids, "max_tokens": int(self.max_tokens)}


@dataclass(frozen=True, eq=False)
class Tokens:
    """Ranked cells, and what they were computed from."""

    ranked: Ranked
    genes: GeneMatch
    values: Values
    where: str
    left: np.ndarray = field(default_factory=lambda: np.zeros(2))
    """Sums over cells of what :func:`left_out` returns."""

    def report(self) -> dict[str, Any]:
        """Return what ``uns`` records about the input: which genes and counts were used."""
        lost, n_tokens = losses(self.ranked), int(self.ranked.lengths.sum())
        return report(
            self.genes,
            self.values,
            self.where,
            lost / self.ranked.n_cells,
            n_tokens / self.ranked.n_cells,
            self.left / self.ranked.n_cells,
        )


def tokenise(adata: AnnData, vocab: Vocabulary, reading: Reading) -> Tokens:
    """Rank the genes of every cell; counts that are not in memory are read block by block."""
    counts = read_counts(adata, reading.layer)
    genes = reading.matched(counts.var, vocab, adata.obs_names)
    parts, left = [], np.zeros(2)
    for block in counts.parts():
        parts.append(rank(block, genes, reading.max_tokens))
        left += left_out(block, genes)
    return Tokens(Ranked.joined(parts), genes, counts.values, counts.where, left)


def rank(csr: sparse.csr_matrix | sparse.csr_array, genes: GeneMatch, max_tokens: int) -> Ranked:
    """Rank the genes of some cells."""
    return rank_csr(csr.indptr, csr.indices, csr.data, genes.token, genes.median, max_tokens)


def genes_of(adata: AnnData, vocab: Vocabulary, reading: Reading) -> tuple[GeneMatch, str]:
    """Return the genes of the matrix to read and its name, without reading a count."""
    _, var, where = _matrix(adata, reading.layer)
    return reading.matched(var, vocab, adata.obs_names), where


def read_counts(adata: AnnData, layer: str | None) -> Counts:
    """Return the counts of the chosen matrix."""
    matrix, _, where = _matrix(adata, layer)
    try:
        counts = _count(adata, layer, log1p_hint=_log1p_hint(adata))
    except InputError as error:
        raise InputError(error.what, _elsewhere(adata) or error.fix) from None
    if by_columns(matrix):
        size = sum(part.nbytes for part in (counts.matrix.data, counts.matrix.indices)) / 1e9
        warnings.warn(
            f"memory grows with the number of cells: {where} is stored gene by gene (CSC), so all "
            f"of it ({size:.1f} GB) was read; to stream it: {where} = {where}.tocsr()",
            GeneMambaWarning,
            stacklevel=2,
        )
    return counts


def kinds(adata: AnnData, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the kind of values of each matrix, by the `layer` that reads it; "X" is ``X``.

    Matrices that cannot be ranked are left out; those in `known` are not read.
    """
    require_anndata(adata)
    sources: list[str | None] = [*_layers(adata)]
    sources += ["raw"] * (adata.raw is not None) + [None] * (adata.X is not None)
    found: dict[str, str] = {}
    for source in sources:
        name = source or "X"
        try:
            found[name] = (known or {}).get(name) or _count(adata, source).values.kind
        except InputError:
            continue
    return found


def lazy(adata: AnnData, layer: str | None) -> bool:
    """Whether the counts of an AnnData are not in memory."""
    return is_lazy(_matrix(adata, layer)[0])


def losses(ranked: Ranked) -> float:
    """Sum over cells the fraction of counts in unknown genes."""
    return float(np.sum(1 - ranked.known / np.maximum(ranked.total, np.finfo(float).tiny)))


def left_out(csr: sparse.csr_matrix | sparse.csr_array, genes: GeneMatch) -> np.ndarray:
    """Sum over cells the fractions of counts in genes without and with several orthologues."""
    if genes.without is None:
        return np.zeros(2)
    total = np.maximum(np.ravel(csr.sum(axis=1)).astype(np.float64), np.finfo(float).tiny)
    kinds = (genes.without, genes.many)
    return np.array(
        [0.0 if own is None else np.sum((csr @ own.astype(np.float64)) / total) for own in kinds]
    )


def report(
    genes: GeneMatch,
    values: Values,
    where: str,
    counts_lost: float,
    tokens_per_cell: float,
    counts_left: Sequence[float] | np.ndarray,
) -> dict[str, Any]:
    """Return what ``uns`` records about an input."""
    return {
        "input": where,
        "values": values.kind,
        "values_reason": values.reason,
        "values_doubt": values.doubt,
        "genes": len(genes.token),
        "genes_known": len(genes.tokens),
        "genes_sha256": genes_sha256(genes),
        "gene_status": genes.counts,
        "genes_added": genes.added,
        "counts_lost": counts_lost,
        "tokens_per_cell": tokens_per_cell,
        "organism": organism_entry(genes, counts_left),
    }


def organism_entry(genes: GeneMatch, counts_left: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Return what ``uns`` records about the organism of the genes."""
    entry = {
        "name": genes.organism,
        "table": genes.table,
        "genes_without_orthologue": 0 if genes.without is None else int(genes.without.sum()),
        "counts_without_orthologue": float(counts_left[0]),
    }
    if genes.many is not None:
        entry["genes_one_to_many"] = int(genes.many.sum())
        entry["counts_one_to_many"] = float(counts_left[1])
    return entry


def lost(share: float) -> str:
    """Return a warning if many counts are in unknown genes, else an empty string."""
    if share <= MUCH_LOST:
        return ""
    return (
        f"results use only part of each cell: on average {share:.0%} of a cell's counts are in "
        "genes unknown to the model"
    )


def no_genes() -> InputError:
    """Return the error for cells without known genes."""
    return InputError(
        "no cell expresses a gene of the model", "check that rows are cells, and gene_ids"
    )


def _count(adata: AnnData, layer: str | None, *, log1p_hint: float | None = None) -> Counts:
    matrix, var, where = _matrix(adata, layer)
    return count(matrix, var, where=where, log1p_hint=log1p_hint)


def _matrix(adata: AnnData, layer: str | None) -> tuple[Any, pd.DataFrame, str]:
    """Return values, gene table and name of the chosen matrix."""
    if layer is None:
        if adata.X is None:
            raise InputError("adata.X is empty", _elsewhere(adata) or "set adata.X to counts")
        return adata.X, adata.var, "adata.X"
    if layer in adata.layers:
        return adata.layers[layer], adata.var, f"adata.layers[{layer!r}]"
    require_layer(adata, layer)
    return adata.raw.X, adata.raw.var, "adata.raw.X"


def require_layer(adata: AnnData, layer: str | None) -> None:
    """Raise an error that lists the layers if `layer` is not one of them."""
    if layer is None or layer in adata.layers or (layer == "raw" and adata.raw is not None):
        return
    have = [*map(repr, _layers(adata)), *(["'raw'"] if adata.raw is not None else [])]
    raise InputError(
        f"layer={layer!r} is not in adata.layers",
        f"use one of {', '.join(have)}" if have else "leave out layer: adata has only X",
    )


def _layers(adata: AnnData) -> list[str]:
    return [name for name in adata.layers if name is not None]  # None is X, from anndata 0.13 on


def _log1p_hint(adata: AnnData) -> float | None:
    """Read the base that ``sc.pp.log1p`` left in ``uns``, if it ran."""
    if "log1p" not in adata.uns:
        return None
    base = adata.uns["log1p"].get("base") if hasattr(adata.uns["log1p"], "get") else None
    return float(np.e if base is None else base)


def _elsewhere(adata: AnnData) -> str:
    """Suggest another matrix of this AnnData, if one can be ranked."""
    found = kinds(adata)
    for wanted in ("counts", "normalised", "log1p"):
        for source, kind in found.items():
            if kind == wanted:
                call = "X" if source == "X" else f"layer={source!r}"
                where = _matrix(adata, None if source == "X" else source)[2]
                return f"{where} holds {kind} values: use {call}"
    return ""
