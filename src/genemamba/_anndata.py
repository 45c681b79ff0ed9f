"""The shell between AnnData and the array core: what is read, and how results are recorded."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from genemamba._keys import OWN_RECORDS, UNS
from genemamba._version import __version__
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.io.counts import Counts, by_columns, count, is_gene, is_lazy
from genemamba.tokens import GeneMatch, Ranked, Values, match, rank_csr
from genemamba.tokens.genes import guess, look_up

if TYPE_CHECKING:
    from genemamba.model import GeneMamba
    from genemamba.model.runtime import Runtime
    from genemamba.models._load import ModelLike
    from genemamba.tokens import Vocabulary

MUCH_LOST = 0.1
"""Share of a cell's counts beyond which their loss is said."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """Ranked cells and how they came about."""

    ranked: Ranked
    genes: GeneMatch
    values: Values
    where: str

    def report(self) -> dict[str, Any]:
        """Return what ``uns`` keeps about the input: which genes and counts were used."""
        lost, n_tokens = losses(self.ranked), int(self.ranked.lengths.sum())
        return report(
            self.genes,
            self.values,
            self.where,
            lost / self.ranked.n_cells,
            n_tokens / self.ranked.n_cells,
        )


def losses(ranked: Ranked) -> float:
    """Sum over cells the share of counts in genes without a token."""
    return float(np.sum(1 - ranked.known / np.maximum(ranked.total, np.finfo(float).tiny)))


def report(
    genes: GeneMatch, values: Values, where: str, counts_lost: float, tokens_per_cell: float
) -> dict[str, Any]:
    """Return what ``uns`` keeps about an input."""
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
    }


def lost(share: float) -> str:
    """Say what it means that so many of a cell's counts are not used, if it means anything."""
    if share <= MUCH_LOST:
        return ""
    return (
        f"results rest on a part of each cell: on average {share:.0%} of a cell's counts are in "
        "genes that the model does not know"
    )


def tokenise(
    adata: AnnData,
    vocab: Vocabulary,
    *,
    layer: str | None,
    gene_ids: str | Sequence[str] | None,
    max_tokens: int,
) -> Tokens:
    """Read counts and gene names from an AnnData and rank them; nothing is written.

    Of counts that are not in memory one block at a time is.
    """
    counts = read_counts(adata, layer)
    genes = match_genes(counts.var, vocab, gene_ids=gene_ids, cells=adata.obs_names)
    blocks = [counts.whole()] if counts.in_memory else (block for _, block in counts.blocks())
    parts = [rank(block, genes, max_tokens) for block in blocks]
    return Tokens(Ranked.joined(parts), genes, counts.values, counts.where)


def rank(csr: sparse.csr_matrix | sparse.csr_array, genes: GeneMatch, max_tokens: int) -> Ranked:
    """Rank the genes of some cells."""
    return rank_csr(csr.indptr, csr.indices, csr.data, genes.token, genes.median, max_tokens)


def genes_sha256(genes: GeneMatch) -> str:
    """Hash which column is which gene."""
    return hashlib.sha256(np.ascontiguousarray(genes.token, "<i4").data).hexdigest()


def genes_of(
    adata: AnnData, vocab: Vocabulary, *, layer: str | None, gene_ids: str | Sequence[str] | None
) -> tuple[GeneMatch, str]:
    """Return the genes of the chosen source and its name, without reading a count."""
    _, var, where = _matrix(adata, layer)
    return match_genes(var, vocab, gene_ids=gene_ids, cells=adata.obs_names), where


def match_genes(
    var: pd.DataFrame,
    vocab: Vocabulary,
    *,
    gene_ids: str | Sequence[str] | None,
    cells: pd.Index | None = None,
) -> GeneMatch:
    """Find the genes of a table in the vocabulary; an error names a better column.

    With the names of `cells` it also says if these are the genes.
    """
    var = var.to_memory() if hasattr(var, "to_memory") else var
    names, where = _names(var, gene_ids)
    try:
        return match(names, vocab, where=where, genes=is_gene(var))
    except InputError as error:
        turned = cells is not None and _share_known(cells, vocab) > 0.1
        fix, also = _better_names(var, vocab, names)
        if turned:
            fix = "the rows are genes: use adata.T"
        raise InputError(error.what + also, fix or error.fix) from None


def _share_known(names: Iterable[object], vocab: Vocabulary) -> float:
    plain = [str(name) for name in names]
    return float(np.mean(look_up(plain, vocab)[0] >= 0)) if plain else 0.0


def check_slots(adata: AnnData, key: str, *, copy: bool = False, **slots: Sequence[str]) -> None:
    """Refuse what cannot be written to, and slots that no tool with the record `key` wrote.

    Slots named by default are this package's, even where their record was lost.
    """
    _refuse_other_types(adata)
    if any(slots.values()):
        check_backed(adata, copy=copy)
    ours = key in _records(adata) or key in OWN_RECORDS
    if "/" in key:
        raise InputError(
            f"key_added with a '/' ({key!r}) cannot be written to a file", "leave out the '/'"
        )
    for slot, names in slots.items():
        for name in names:
            if name in getattr(adata, slot) and not ours:
                raise InputError(
                    f"adata.{slot}[{name!r}] exists and was not written by genemamba",
                    f"choose another key_added, or delete it first: del adata.{slot}[{name!r}]",
                )


def check_backed(adata: AnnData, *, copy: bool) -> None:
    """Refuse to copy what lies in a file, and to write to some cells of it."""
    if adata.isbacked and (copy or adata.is_view):
        what = "is backed by a file, which copy=True cannot copy"
        if adata.is_view:
            what = "is a view of a backed AnnData, which cannot be written to"
        raise InputError(f"adata {what}", "read it first: adata = adata.to_memory()")


def _records(adata: AnnData) -> Mapping[str, Any]:
    _refuse_other_types(adata)
    records = adata.uns.get(UNS, {})
    if not isinstance(records, Mapping):
        raise InputError(
            f"adata.uns[{UNS!r}] exists and was not written by genemamba",
            f"rename or delete it first: del adata.uns[{UNS!r}]",
        )
    return records


def identity(loaded: GeneMamba, given: ModelLike | None = None) -> dict[str, str]:
    """Return what a record keeps of a model; a name or path given goes before its own name."""
    assert loaded.vocab is not None
    name = given if isinstance(given, str) else loaded.provenance.get("name", "unnamed")
    return {
        "model": name,
        "model_sha256": loaded.provenance.get("sha256", "unsaved"),
        "vocabulary_sha256": loaded.vocab.sha256,
    }


def entry_of(
    loaded: GeneMamba,
    runtime: Runtime,
    *,
    gene_ids: str | Sequence[str] | None,
    layer: str | None,
    **params: Any,
) -> dict[str, Any]:
    """Return what a record says of the model and of how it was run."""
    return {
        **identity(loaded),
        "params": {
            "layer": layer or "",
            "gene_ids": gene_ids if isinstance(gene_ids, str) else "",
            **params,
        },
        "device": runtime.device,
        "precision": runtime.precision,
        "backend": runtime.backend,
    }


def recorded(adata: AnnData, key: str) -> Mapping[str, Any]:
    """Return the record of one slot; empty where there is none."""
    records = adata.uns.get(UNS, {})
    entry = records.get(key, {}) if isinstance(records, Mapping) else {}
    return entry if isinstance(entry, Mapping) else {}


def record(adata: AnnData, key: str, entry: dict[str, Any]) -> None:
    """Write the record of one slot to ``uns``, keeping the records of others."""
    adata.uns[UNS] = {**adata.uns.get(UNS, {}), key: {"version": __version__, **entry}}


def read_counts(adata: AnnData, layer: str | None) -> Counts:
    """Return the counts, the gene table, what was found, and where."""
    matrix, _, where = _matrix(adata, layer)
    try:
        counts = _count(adata, layer, log1p_hint=_log1p_hint(adata))
    except InputError as error:
        raise InputError(error.what, _elsewhere(adata) or error.fix) from None
    if by_columns(matrix):
        size = sum(part.nbytes for part in (counts.matrix.data, counts.matrix.indices)) / 1e9
        warnings.warn(
            f"memory grows with the cells: {where} is stored gene by gene (CSC), so all of it "
            f"({size:.1f} GB) was read; store it by cells to stream it: {where} = {where}.tocsr()",
            GeneMambaWarning,
            stacklevel=2,
        )
    return counts


def _count(adata: AnnData, layer: str | None, *, log1p_hint: float | None = None) -> Counts:
    matrix, var, where = _matrix(adata, layer)
    return count(matrix, var, where=where, log1p_hint=log1p_hint)


def no_genes() -> InputError:
    """Say that there is nothing to embed."""
    return InputError(
        "no cell expresses a gene of the model", "check that rows are cells, and gene_ids"
    )


def is_path(adata: Any) -> TypeGuard[str | PathLike[str]]:
    """Whether it is a path, and no AnnData."""
    return isinstance(adata, (str, PathLike))


def lazy(adata: AnnData, layer: str | None) -> bool:
    """Whether the counts of an AnnData are not in memory."""
    return is_lazy(_matrix(adata, layer)[0])


def _refuse_other_types(adata: Any) -> None:
    if not isinstance(adata, AnnData):
        raise InputError(
            f"adata is a {type(adata).__name__}, not an AnnData",
            "read the file first: adata = anndata.read_h5ad(path); of a MuData give mdata['rna']",
        )


def _matrix(adata: AnnData, layer: str | None) -> tuple[Any, pd.DataFrame, str]:
    """Values, gene table and name of the chosen source; ``layer="raw"`` means ``adata.raw``."""
    if layer is None:
        if adata.X is None:
            raise InputError("adata.X is empty", _elsewhere(adata) or "set adata.X to counts")
        return adata.X, adata.var, "adata.X"
    if layer in adata.layers:
        return adata.layers[layer], adata.var, f"adata.layers[{layer!r}]"
    if layer == "raw" and adata.raw is not None:
        return adata.raw.X, adata.raw.var, "adata.raw.X"
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


def kinds(adata: AnnData, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what each matrix of an AnnData holds, by the layer that reads it; "X" is ``X``.

    Those that cannot be ranked are left out; what is `known` is not looked at.
    """
    _refuse_other_types(adata)
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


def _elsewhere(adata: AnnData) -> str:
    """Name the call that would use other values of this AnnData, if any can be ranked."""
    found = kinds(adata)
    for wanted in ("counts", "normalised", "log1p"):
        for source, kind in found.items():
            if kind == wanted:
                call = "X" if source == "X" else f"layer={source!r}"
                where = _matrix(adata, None if source == "X" else source)[2]
                return f"{where} holds {kind} values: use {call}"
    return ""


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


def _better_names(var: pd.DataFrame, vocab: Vocabulary, names: list[str]) -> tuple[str, str]:
    """Name the column of ``var`` in which most genes are known, or that tells the species.

    The symbols of another species are known in upper case, too: such a column is none.
    """
    columns = {column: var[column].astype(str).tolist() for column in var.columns}
    columns = {name: own for name, own in columns.items() if len(set(own)) > len(own) / 2}
    foreign = [other for other in [names, *columns.values()] if _is_foreign(other)]
    best, found = "", 0.1
    for column, own in columns.items():
        share = _share_known(own, vocab)
        human = guess(own).startswith("are human") or not any(_alike(own, o) for o in foreign)
        if share > found and human:
            best, found = column, share
    if best:
        return f"adata.var[{best!r}] holds names the model knows: use gene_ids={best!r}", ""
    told = [c for c, own in columns.items() if _is_foreign(own) and not _is_foreign(names)]
    return "", "".join(f"; those in adata.var[{c!r}] {guess(columns[c])}" for c in told[:1])


def _is_foreign(names: list[str]) -> bool:
    said = guess(names)
    return "mouse" in said or "species" in said


def _alike(names: list[str], foreign: list[str]) -> bool:
    """Whether names may be those of another species in upper case; of ids nobody can tell."""
    same = np.mean([a.upper() == b.upper() for a, b in zip(names, foreign, strict=True)])
    return bool(same > 0.5) or foreign[0].startswith("ENS")
