"""Cells taken apart and put together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from genemamba import models
from genemamba._docs import documented
from genemamba._keys import RECONSTRUCTION, UNS_RECONSTRUCT, ReconstructionKeys, reconstruction_keys
from genemamba._rng import Rng, generator_of, recorded_seed
from genemamba._settings import check_share, check_whole
from genemamba.cells.open import cells_of
from genemamba.cells.read import Reading, tokenise
from genemamba.cells.record import check_key, check_slots, entry_of, record
from genemamba.errors import InputError
from genemamba.network.rebuild import (
    names_next_gene,
    rebuild_as_published,
    rebuild_hidden,
    rebuild_next,
)
from genemamba.network.runtime import choose_runtime
from genemamba.tokens import MeanRanking, Ranked
from genemamba.tokens import reconstruction as core
from genemamba.tokens.reconstruction import Reconstruction

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.models._load import ModelLike
    from genemamba.network import GeneMamba
    from genemamba.network.runtime import Backend, BatchSize, Device, Precision, Runtime
    from genemamba.tokens.organisms import Organism


Protocol = Literal["masked", "paper", "next"]
NOTES = {
    "masked": "hidden genes are nowhere in the input",
    "paper": "nothing is hidden: a copy of the input scores as the row 'copy' does",
    "next": "read forwards only, from a prefix",
}
_BINS = 40  # of the curves in uns


@documented
def reconstruct(
    adata: AnnData | MuData,
    *,
    protocol: Protocol = "masked",
    model: ModelLike = "genemamba-mini",
    mask_fraction: float = 0.15,
    prefix_fraction: float = 0.1,
    n_cells: int | None = None,
    mod: str | None = None,
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    organism: Organism = "auto",
    max_tokens: int = 2048,
    batch_size: BatchSize = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    key_added: str = RECONSTRUCTION,
    rng: Rng = 0,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Let the model predict hidden genes of each cell and their ranks, and score the prediction.

    Only measured genes can be predicted (in ``"paper"``, as published, any). Two predictions that
    need no model are listed for comparison: the mean ranking of the training cells (of the scored
    cells themselves, if the checkpoint has none), and a copy of the input.

    Parameters
    ----------
    adata
        As for :func:`genemamba.tl.embed`.
    protocol
        ``"masked"``: some genes of each cell are hidden; the model predicts them and their ranks.
        ``"next"``: continue from a prefix, one gene at a time, as in Figure 7 of the paper [1]_;
        read forwards only, at constant cost per step. ``"paper"``: as published, feed in the whole
        cell and take the most likely gene at each position. A model that reads in both directions
        has then seen the answer, and copying solves the task: use it only to compare with
        published figures.
    {model}
    mask_fraction
        Share of a cell's genes that is hidden (``"masked"``).
    prefix_fraction
        Share of a cell's genes that is given (``"next"``), one gene at least.
    n_cells
        Number of cells to score, drawn at random; all by default.
    {reading}
    {running}
    key_added
        Prefix of the slots.
    rng
        Seed, or generator, of the hidden genes and the cells.
    {copy}

    Returns
    -------
    ``None``, or the modified copy. Writes, all float32 and NaN for cells that were not scored:

    ``adata.obs["genemamba_exact_match"]``
        1 if the rebuilt cell is the cell, else 0.
    ``adata.obs["genemamba_levenshtein"]``
        Insertions, deletions and substitutions between the two rankings.
    ``adata.obs["genemamba_nld"]``
        One minus these over the longer length.
    ``adata.obs["genemamba_bleu"]``
        BLEU of n-grams up to 4, unsmoothed, with brevity penalty.
    ``adata.obs["genemamba_spearman"]``
        Correlation of true and rebuilt ranks of the genes to predict (hidden; after the prefix;
        all) that were predicted.
    ``adata.obs["genemamba_recall"]``
        Share of the genes to predict that were predicted, at any rank.
    ``adata.obs["genemamba_recall_50"]``
        Fraction of the hidden genes that are among the 50 most likely for their position; only
        ``"masked"``.
    ``adata.obsm["genemamba_reconstruction"]``
        CSR matrix of int32, ``n_obs × max_tokens``: the token at each rank of the rebuilt cell.
    ``adata.obsm["genemamba_reconstructed_rank"]``
        CSR matrix of float32, ``n_obs × max_tokens``: entry (cell, r) is the rank, from 1, that the
        gene at rank r + 1 was given. Stored for genes to predict that were predicted.
    ``adata.uns["genemamba"]["reconstruct"]``
        Version, model, parameters, genes matched; ``table``: mean scores of the model, the mean
        ranking and the copy (``_10``: over ten cells joined, as published); ``curve``: median
        rebuilt rank by rank; ``overlap``: mean numbers of genes that are true only,
        both, and predicted only; ``mean_ranking_of``: the cells of the mean ranking.

    With another `key_added`, it replaces the first ``genemamba``, and the record is
    ``uns["genemamba"]["reconstruct_<key_added>"]``.

    Raises
    ------
    InputError
        As :func:`genemamba.tl.embed`; if the protocol is unknown, a share is not between 0 and 1,
        or the model cannot do the protocol. Nothing has been written then.
    CheckpointError
        If the model is unknown or damaged.

    References
    ----------
    .. [1] Qi et al., *GeneMamba: Efficient and Effective Foundation Model on Single Cell Data*,
       section 4.3 and appendix B.3.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.tl.reconstruct(adata, layer="raw", n_cells=50)
    >>> table = adata.uns["genemamba"]["reconstruct"]["table"]
    >>> bool(table.loc["model", "spearman"] > table.loc["mean ranking", "spearman"])
    True
    """
    check_key(key_added, RECONSTRUCTION)
    keys = reconstruction_keys(key_added)
    _check_settings(protocol, mask_fraction, prefix_fraction, n_cells)
    runtime = choose_runtime(device, precision, backend, batch_size)
    reading, generator = Reading(layer, gene_ids, organism, max_tokens), generator_of(rng)
    with cells_of(adata, mod, copy) as (own, result):
        check_slots(own, keys.record, UNS_RECONSTRUCT, obs=keys.obs, obsm=keys.obsm)
        loaded = models.load(model)
        vocab = models.vocabulary(loaded)
        tokens = tokenise(own, vocab, reading)
        cells = _choose_cells(tokens.ranked, n_cells, generator)
        ranked = tokens.ranked.take(cells)
        ranking = loaded.ranking or MeanRanking.of(tokens.ranked, vocab.n_genes)
        asked = _asked(protocol, ranked, mask_fraction, prefix_fraction, generator)
        measured = tokens.genes.tokens
        rebuilt = _rebuilt(protocol, loaded, ranked, asked, measured, runtime)
        rows = {"model": rebuilt} | _baselines(protocol, loaded, ranked, asked, measured, ranking)
        scores = {name: core.score(ranked, row, asked) for name, row in rows.items()}
        params = {
            "protocol": protocol,
            "mask_fraction": mask_fraction,
            "prefix_fraction": prefix_fraction,
            "rng": recorded_seed(rng),
        }
        entry = {
            **entry_of(loaded, reading, runtime, given=model, **params),
            **tokens.report(),
            "cells": len(cells),
            "note": NOTES[protocol],
            "mean_ranking_of": "the training cells" if loaded.ranking else "these cells",
            "table": _table(ranked, rows, scores),
            "curve": _curve(ranked, rows),
            "overlap": _overlap(ranked, rebuilt, asked),
        }
        _write(own, keys, cells, ranked, rebuilt, scores["model"], max_tokens)
        record(own, keys.record, entry)
    return result


def _check_settings(protocol: str, mask: float, prefix: float, n_cells: int | None) -> None:
    if protocol not in get_args(Protocol):
        raise InputError(f"protocol={protocol!r} is unknown", "use 'masked', 'next' or 'paper'")
    check_share("mask_fraction", mask)
    check_share("prefix_fraction", prefix)
    if n_cells is not None:
        check_whole("n_cells", n_cells, also=", or None for all")


def _choose_cells(ranked: Ranked, n_cells: int | None, rng: np.random.Generator) -> np.ndarray:
    """Choose among the cells that have two genes at least; fewer have no order."""
    cells = np.flatnonzero(ranked.lengths > 1)
    if not len(cells):
        raise InputError(
            "no cell expresses two genes of the model", "check that rows are cells, and gene_ids"
        )
    if n_cells is None or n_cells >= len(cells):
        return cells
    return np.sort(rng.choice(cells, n_cells, replace=False))


def _asked(
    protocol: Protocol, ranked: Ranked, mask: float, prefix: float, rng: np.random.Generator
) -> np.ndarray:
    if protocol == "masked":
        return core.choose_hidden(ranked, mask, rng)
    if protocol == "next":
        return core.after_prefix(ranked, prefix)
    return np.ones(len(ranked.tokens), dtype=bool)


def _rebuilt(
    protocol: Protocol,
    model: GeneMamba,
    ranked: Ranked,
    asked: np.ndarray,
    measured: np.ndarray,
    runtime: Runtime,
) -> Reconstruction:
    if protocol == "paper":
        return rebuild_as_published(model, ranked, runtime=runtime)
    rebuild = rebuild_hidden if protocol == "masked" else rebuild_next
    return rebuild(model, ranked, asked, measured, runtime=runtime)


def _baselines(
    protocol: Protocol,
    model: GeneMamba,
    ranked: Ranked,
    asked: np.ndarray,
    measured: np.ndarray,
    ranking: MeanRanking,
) -> dict[str, Reconstruction]:
    if protocol == "masked":
        mean = core.mean_ranking_hidden(ranked, asked, measured, ranking)
    else:
        mean = core.mean_ranking_after(ranked, asked, measured, ranking)
    if protocol == "paper":
        return {"mean ranking": mean, "copy": core.copy_all(ranked, moved=names_next_gene(model))}
    return {"mean ranking": mean, "copy": core.copy_given(ranked, asked)}


def _table(
    ranked: Ranked, rows: dict[str, Reconstruction], scores: dict[str, dict[str, np.ndarray]]
) -> pd.DataFrame:
    """Mean scores, one row for each way to rebuild."""

    def mean(values: np.ndarray) -> float:
        there = values[~np.isnan(values)]
        return float(there.mean()) if len(there) else float("nan")

    return pd.DataFrame(
        {
            name: {score: mean(values) for score, values in scores[name].items()}
            | core.score_joined(ranked, row)
            for name, row in rows.items()
        }
    ).T


def _curve(ranked: Ranked, rows: dict[str, Reconstruction]) -> pd.DataFrame:
    """Median rebuilt rank of the genes at each rank, in bins."""
    edges = np.linspace(0.5, ranked.lengths.max() + 0.5, _BINS + 1)
    bins = pd.Series(np.digitize(ranked.rank + 1, edges) - 1)
    curve = pd.DataFrame({"rank": (edges[:-1] + edges[1:]) / 2})
    for name, row in rows.items():
        curve[name] = pd.Series(row.rank).groupby(bins).median().reindex(curve.index)
    return curve


def _overlap(ranked: Ranked, rebuilt: Reconstruction, asked: np.ndarray) -> dict[str, float]:
    """Mean numbers of genes that are true only, both, and predicted only."""
    counts = np.zeros(3)
    for i in range(ranked.n_cells):
        part = slice(ranked.indptr[i], ranked.indptr[i + 1])
        truth = ranked.tokens[part]
        said = np.setdiff1d(rebuilt.cell(i), truth[~asked[part]])
        both = len(np.intersect1d(truth[asked[part]], said))
        counts += asked[part].sum() - both, both, len(said) - both
    return dict(zip(("asked", "both", "said"), (counts / ranked.n_cells).tolist(), strict=True))


def _write(
    adata: AnnData,
    keys: ReconstructionKeys,
    cells: np.ndarray,
    ranked: Ranked,
    rebuilt: Reconstruction,
    scores: dict[str, np.ndarray],
    max_tokens: int,
) -> None:
    for name, values in scores.items():
        column = np.full(adata.n_obs, np.nan, dtype=np.float32)
        column[cells] = values
        adata.obs[getattr(keys, name)] = column
    shape = (adata.n_obs, max_tokens)
    said = ~np.isnan(rebuilt.rank)
    for key, indptr, data, keep in (
        (keys.tokens, rebuilt.indptr, rebuilt.tokens, np.ones(len(rebuilt.tokens), dtype=bool)),
        (keys.rank, ranked.indptr, rebuilt.rank, said),
    ):
        lengths = np.diff(indptr)
        place = np.arange(len(data)) - np.repeat(indptr[:-1], lengths)
        row = np.repeat(cells, lengths)
        adata.obsm[key] = sparse.csr_matrix((data[keep], (row[keep], place[keep])), shape=shape)
