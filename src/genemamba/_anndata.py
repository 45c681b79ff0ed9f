"""The shell between AnnData and the array core: what is read, and how results are recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from genemamba._keys import OWN_RECORDS, UNS
from genemamba._version import __version__
from genemamba.errors import InputError
from genemamba.tokens import GeneMatch, Ranked, Values, as_csr, judge, linear, match, rank_csr

if TYPE_CHECKING:
    from genemamba.model import GeneMamba
    from genemamba.models._load import ModelLike
    from genemamba.tokens import Vocabulary


@dataclass(frozen=True, eq=False)
class Tokens:
    """Ranked cells and how they came about."""

    ranked: Ranked
    genes: GeneMatch
    values: Values
    where: str

    @property
    def measured(self) -> np.ndarray:
        """Tokens of the genes that are there and known, ascending."""
        return np.unique(self.genes.token[self.genes.token >= 0])

    def report(self) -> dict[str, Any]:
        """Return what ``uns`` keeps about the input: which genes and counts were used."""
        total = np.maximum(self.ranked.total, np.finfo(float).tiny)
        return {
            "input": self.where,
            "values": self.values.kind,
            "values_reason": self.values.reason,
            "genes": len(self.genes.token),
            "genes_known": int((self.genes.token >= 0).sum()),
            "gene_status": self.genes.counts,
            "counts_lost": float(np.mean(1 - self.ranked.known / total)),
            "tokens_per_cell": float(self.ranked.lengths.mean()),
        }


def tokenise(
    adata: AnnData,
    vocab: Vocabulary,
    *,
    layer: str | None,
    gene_ids: str | Sequence[str] | None,
    max_tokens: int,
) -> Tokens:
    """Read counts and gene names from an AnnData and rank them; nothing is written."""
    counts, var, values, where = read_counts(adata, layer)
    genes = match_genes(var, vocab, gene_ids=gene_ids)
    ranked = rank_csr(
        counts.indptr, counts.indices, counts.data, genes.token, genes.median, max_tokens
    )
    return Tokens(ranked, genes, values, where)


def known_genes(
    adata: AnnData, vocab: Vocabulary, *, layer: str | None, gene_ids: str | Sequence[str] | None
) -> set[int]:
    """Return the tokens of the genes that an AnnData has and the vocabulary knows."""
    _, var, _ = _matrix(adata, layer)
    return set(match_genes(var, vocab, gene_ids=gene_ids).token.tolist()) - {-1}


def match_genes(
    var: pd.DataFrame, vocab: Vocabulary, *, gene_ids: str | Sequence[str] | None
) -> GeneMatch:
    """Find the genes of a table in the vocabulary; an error names a better column."""
    names, where = _names(var, gene_ids)
    try:
        return match(names, vocab, where=where)
    except InputError as error:
        raise InputError(error.what, _better_names(var, vocab) or error.fix) from None


def check_slots(adata: AnnData, key: str, **slots: Sequence[str]) -> None:
    """Refuse what is no AnnData, and slots that no tool with the record `key` wrote.

    Slots named by default are this package's, even where their record was lost.
    """
    ours = key in _records(adata) or key in OWN_RECORDS
    for slot, names in slots.items():
        for name in names:
            if name in getattr(adata, slot) and not ours:
                raise InputError(
                    f"adata.{slot}[{name!r}] exists and was not written by genemamba",
                    f"choose another key_added, or delete it first: del adata.{slot}[{name!r}]",
                )


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


def record(adata: AnnData, key: str, entry: dict[str, Any]) -> None:
    """Write the record of one slot to ``uns``, keeping the records of others."""
    adata.uns[UNS] = {**adata.uns.get(UNS, {}), key: {"version": __version__, **entry}}


def read_counts(
    adata: AnnData, layer: str | None
) -> tuple[sparse.csr_matrix | sparse.csr_array, pd.DataFrame, Values, str]:
    """Return counts (a log undone), the gene table, what was found, and where."""
    matrix, var, where = _matrix(adata, layer)
    counts = as_csr(matrix, where=where)
    try:
        values = judge(counts, log1p_hint=_log1p_hint(adata), where=where)
    except InputError as error:
        raise InputError(error.what, _elsewhere(adata, layer) or error.fix) from None
    return linear(counts, values), var, values, where


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
            raise InputError("adata.X is empty", _elsewhere(adata, None) or "set adata.X to counts")
        return _loaded(adata.X), adata.var, "adata.X"
    if layer in adata.layers:
        return _loaded(adata.layers[layer]), adata.var, f"adata.layers[{layer!r}]"
    if layer == "raw" and adata.raw is not None:
        return _loaded(adata.raw.X), adata.raw.var, "adata.raw.X"
    have = [*map(repr, adata.layers), *(["'raw'"] if adata.raw is not None else [])]
    raise InputError(
        f"layer={layer!r} is not in adata.layers",
        f"use one of {', '.join(have)}" if have else "leave out layer: adata has only X",
    )


def _loaded(matrix: Any) -> Any:
    return matrix.to_memory() if hasattr(matrix, "to_memory") else matrix


def _log1p_hint(adata: AnnData) -> float | None:
    """Read the base that ``sc.pp.log1p`` left in ``uns``, if it ran."""
    if "log1p" not in adata.uns:
        return None
    base = adata.uns["log1p"].get("base") if hasattr(adata.uns["log1p"], "get") else None
    return float(np.e if base is None else base)


def _elsewhere(adata: AnnData, refused: str | None) -> str:
    """Name the call that would use other values of this AnnData, if any can be ranked."""
    sources: list[str | None] = [*adata.layers]
    if adata.raw is not None:
        sources.append("raw")
    if refused is not None and adata.X is not None:
        sources.append(None)
    kinds = {}
    for source in sources:
        try:
            matrix, _, where = _matrix(adata, source)
            kinds[source] = (judge(as_csr(matrix, where=where), where=where).kind, where)
        except InputError:
            continue
    for wanted in ("counts", "normalised", "log1p"):
        for source, (kind, where) in kinds.items():
            if kind == wanted:
                said = "X" if source is None else f"layer={source!r}"
                return f"{where} holds {kind} values: use {said}"
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


def _better_names(var: pd.DataFrame, vocab: Vocabulary) -> str:
    """Name the column of ``var`` in which most genes are known, if there is one."""
    known = vocab.name_to_gene
    best, found = "", 0.1
    for column in var.columns:
        names = var[column].astype(str)
        share = np.mean([name.split(".")[0] in known for name in names])
        if share > found and names.is_unique:
            best, found = column, float(share)
    return f"adata.var[{best!r}] holds names the model knows: use gene_ids={best!r}" if best else ""
