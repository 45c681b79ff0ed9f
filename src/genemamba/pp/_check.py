"""Check cells before a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba import models
from genemamba._docs import documented
from genemamba.cells.blocks import Csr
from genemamba.cells.open import opened_in
from genemamba.cells.read import (
    Reading,
    kinds,
    left_out,
    organism_entry,
    rank,
    read_counts,
    require_layer,
)
from genemamba.errors import InputError
from genemamba.network.inference import embed_tokens
from genemamba.network.runtime import choose_runtime
from genemamba.pp._report import Report
from genemamba.tokens import FIRST_GENE, add_columns

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.models._load import ModelLike as ModelLike
    from genemamba.network import GeneMamba
    from genemamba.tokens import GeneMatch, Ranked, Seen, Values, Vocabulary
    from genemamba.tokens.organisms import Organism

_TIMED = 16  # cells


@documented
def check(
    adata: AnnData | MuData | str | PathLike[str],
    *,
    model: ModelLike = "genemamba-mini",
    mod: str | None = None,
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    organism: Organism = "auto",
    max_tokens: int = 2048,
) -> Report:
    """Check cells before a run: can the model read them, which genes does it know, how long.

    The kind of values (counts, normalised, logged, scaled) is inferred from the entries alone;
    for counts that are not in memory, from a sample of cells. A few cells are embedded to estimate
    the time for all, and cells are looked up in the sketch of the model's training cells. Nothing
    is written, and data that cannot be used raise no error: the report gives the reason and the
    call that would work.

    Parameters
    ----------
    adata
        Cells × genes, in memory, backed, lazy or dask; the path of an h5ad file or a zarr store;
        or a MuData.
    {model}
    {reading}

    Returns
    -------
    A report, shown as a table in Jupyter, as text elsewhere. Its ``ok`` says whether the cells can
    be used; ``genes`` and ``cells`` are tables for further use. Writes nothing.

    Raises
    ------
    InputError
        If `adata` is neither an AnnData nor a path to one, or `layer` does not exist.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> report = gm.pp.check(sc.datasets.pbmc68k_reduced())
    >>> report.ok
    False
    >>> print(report.fix)
    adata.raw.X holds log1p values: use layer='raw'
    """
    loaded = models.load(model)
    vocab = models.vocabulary(loaded)
    reading = Reading(layer, gene_ids, organism, max_tokens)
    with opened_in(adata, mod) as cells:
        require_layer(cells, layer)
        base: dict[str, Any] = {"n_cells": cells.n_obs, "n_genes": cells.n_vars}
        try:
            counts = read_counts(cells, layer)
            genes = reading.matched(counts.var, vocab, cells.obs_names)
        except InputError as error:
            return Report(ok=False, problem=error.what, fix=error.fix, sources=kinds(cells), **base)
        base["sources"] = kinds(cells, {layer or "X": counts.values.kind})
        csr, which = counts.some()
        left = left_out(csr, genes) / max(1, len(which))
        names = cells.obs_names[which]
        ranked = rank(csr, genes, max_tokens)
        per_gene = _genes(csr, genes, counts.var, vocab)
        per_cell = _cells(csr, genes, names, ranked)
    seen, unseen = _seen(loaded, csr, genes, counts.values)
    return Report(
        ok=True,
        where=counts.where,
        values=counts.values,
        genes=per_gene,
        cells=per_cell,
        gene_status=genes.counts,
        added=genes.added,
        organism=organism_entry(genes, left),
        seen=seen,
        unseen=unseen,
        seconds=_seconds(loaded, ranked, base["n_cells"]),
        **base,
    )


def _genes(csr: Csr, genes: GeneMatch, var: pd.DataFrame, vocab: Vocabulary) -> pd.DataFrame:
    total = np.asarray(csr.sum(axis=0), dtype=np.float64).ravel()
    used = genes.token >= 0
    gene = np.where(used, genes.token - FIRST_GENE, 0)
    return pd.DataFrame(
        {
            "status": pd.Categorical(genes.status),
            "ensembl_id": np.where(used, vocab.ensembl_id[gene], ""),
            "symbol": np.where(used, vocab.symbol[gene], ""),
            "share_of_counts": total / max(total.sum(), np.finfo(float).tiny),
        },
        index=var.index,
    )


def _cells(csr: Csr, genes: GeneMatch, names: pd.Index, ranked: Ranked) -> pd.DataFrame:
    cell = np.repeat(np.arange(len(names)), np.diff(csr.indptr))
    above = csr.data > 0  # zeros may be stored
    known = np.bincount(cell[above & (genes.token[csr.indices] >= 0)], minlength=len(names))
    expressed = np.bincount(cell[above], minlength=len(names))
    least = np.finfo(float).tiny
    return pd.DataFrame(
        {
            "genes_lost": 1 - known / np.maximum(expressed, 1),
            "counts_lost": 1 - ranked.known / np.maximum(ranked.total, least),
            "tokens": ranked.lengths,
        },
        index=names,
    )


def _seen(model: GeneMamba, csr: Csr, genes: GeneMatch, values: Values) -> tuple[Seen | None, str]:
    """Look cells up in the sketch of the training cells, or give the reason why not."""
    if model.sketch is None:
        return None, "the checkpoint has no sketch of its training cells"
    if values.kind != "counts":
        return None, "needs raw counts"
    gene = np.where(genes.token >= 0, genes.token - FIRST_GENE, -1)
    if missing := model.sketch.missing(gene):
        n_genes = len(model.sketch.genes)
        return None, f"{missing} of the {n_genes} genes used to recognise cells are missing"
    seen = model.sketch.look_up(add_columns(csr, genes.token), gene)
    return (seen, "") if seen.looked_up else (None, "too few cells")


def _seconds(model: GeneMamba, ranked: Ranked, n_cells: int) -> float:
    """Extrapolate the time of a few cells to all."""
    runtime = choose_runtime()
    cells = np.linspace(0, ranked.n_cells - 1, min(ranked.n_cells, _TIMED)).astype(int)
    some = ranked.take(cells[ranked.lengths[cells] > 0])
    if not some.n_cells:
        return 0.0
    how: Any = {"runtime": runtime, "progress": False}
    embed_tokens(model, some.take(np.arange(1)), **how)  # compiles, if that is to be
    begun = time.perf_counter()
    embed_tokens(model, some, **how)
    per_token = (time.perf_counter() - begun) / int(some.lengths.sum())
    return per_token * float(ranked.lengths.mean()) * n_cells
