"""Cells of several batches to vectors in one space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from genemamba import models
from genemamba._docs import documented
from genemamba._expression import log_normalised
from genemamba._keys import OBSM_INTEGRATED
from genemamba._rng import Rng, generator_of, recorded_seed
from genemamba.cells.expression import variable_genes
from genemamba.cells.labels import column, full_column
from genemamba.cells.open import cells_of
from genemamba.cells.read import Reading, read_counts
from genemamba.cells.record import check_slots, identity
from genemamba.errors import InputError
from genemamba.integration.halves import expression_view, halve, model_view
from genemamba.integration.mixing import combined, mix, supervised, unit
from genemamba.tl._embedding import Embedding, Running, warn, write
from genemamba.tokens import add_columns

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.models._load import ModelLike
    from genemamba.network.runtime import Backend, BatchSize, Device, Precision
    from genemamba.tokens.organisms import Organism


@documented
def integrate(
    adata: AnnData | MuData,
    batch_key: str,
    *,
    label_key: str | None = None,
    model: ModelLike = "genemamba-mini",
    mod: str | None = None,
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    organism: Organism = "auto",
    max_tokens: int = 2048,
    batch_size: BatchSize = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    key_added: str = OBSM_INTEGRATED,
    rng: Rng = 0,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Integrate batches: vectors in which cell types stay apart and batches mix.

    Two views of each cell are combined: the model's frozen embedding, with the effect of sequencing
    depth regressed out, and principal components of the log-normalised highly variable genes of
    `adata`. The counts of up to 2,000 cells are split into random halves; only directions in which
    halves agree are kept, scaled by how much they disagree. Batches are then mixed as in
    Harmony [1]_: one shift for each batch and soft cluster. No labels are used, and the model is
    not trained. Unlike in ``gm.tl.embed``, a cell's vector depends on all cells of `adata`.

    With `label_key` the space is then projected on what separates the labels (the paper's
    label-tuned protocol [2]_, here by linear discriminants). Scores with the same labels are
    meaningful only for cells that the tuning did not see: set their label to NaN before the call.

    Parameters
    ----------
    adata
        As for :func:`genemamba.tl.embed`. Values that are not counts are scaled so that the
        smallest of a cell is one count, and rounded, before cells are split into halves.
    batch_key
        Column of ``adata.obs`` with the batch (donor, library, technology) of each cell.
    label_key
        Column of ``adata.obs`` with cell types to tune on. Cells whose label is missing are
        embedded, but not seen by the tuning. Whole numbers count as names.
    {model}
    {reading}
    {running}
    key_added
        Slot to write to.
    rng
        Seed, or generator, of the halves and the clusters.
    {copy}

    Returns
    -------
    ``None``, or the modified copy. Writes

    ``adata.obsm["X_genemamba_integrated"]`` (or `key_added`)
        float32, ``n_obs × dimensions``: vectors of length 1 in some tens of dimensions, a number
        found from the data; with `label_key` discriminants, one fewer than labels. Cells in which
        no known gene is expressed get NaN, as in :func:`genemamba.tl.embed`.
    ``adata.uns["genemamba"]["X_genemamba_integrated"]`` (or `key_added`)
        What :func:`genemamba.tl.embed` records, batches, dimensions of each view, cells cut into
        halves, whether ``obsm["X_genemamba"]`` was used; with `label_key` also ``label_tuned``:
        the key and the names of the cells whose labels were seen.

    If ``obsm["X_genemamba"]`` was written by the same model with the same parameters, it is used
    and not computed again: delete it if the values have changed since.

    Raises
    ------
    InputError
        As :func:`genemamba.tl.embed`; if `batch_key` or `label_key` is not in ``adata.obs``, a
        batch is missing or has one cell, there is one batch or one label, a label has one cell or
        is a measurement, or every label is seen in one batch only. Nothing has been written then.
    CheckpointError
        If the model is unknown or damaged.

    References
    ----------
    .. [1] Korsunsky et al., *Fast, sensitive and accurate integration of single-cell data with
       Harmony*, Nature Methods 2019.
    .. [2] Qi et al., *GeneMamba: Efficient and Effective Foundation Model on Single Cell Data*.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.tl.integrate(adata, "phase", layer="raw")
    >>> adata.obsm["X_genemamba_integrated"].dtype
    dtype('float32')
    >>> sc.pp.neighbors(adata, use_rep="X_genemamba_integrated")
    """
    reading = Reading(layer, gene_ids, organism, max_tokens)
    running = Running(device, precision, backend, batch_size)
    generator = generator_of(rng)
    with cells_of(adata, mod, copy, doing="integrate", to=f"obsm[{key_added!r}]") as (own, result):
        check_slots(own, key_added, OBSM_INTEGRATED, obsm=[key_added])
        batch = _batches(own, batch_key)
        labels = None if label_key is None else _labels(own, label_key, batch, batch_key)
        cells = Embedding(own, models.load(model), reading, running)
        known = np.isfinite(cells.vectors).all(axis=1)
        _refuse_lost(batch, known, "batch", batch_key)
        if labels is not None and label_key is not None:
            _refuse_lost(labels, known, "label", label_key)
        vectors, sizes = _joined(cells, batch, known, generator)
        seen = {}
        if labels is not None:
            vectors = supervised(vectors, labels[known])
            tuned = own.obs_names[known & (labels >= 0)].to_numpy(dtype=str)
            seen["label_tuned"] = {"label_key": label_key, "cells": tuned}
        entry = cells.entry | identity(cells.loaded, model)
        entry["params"] |= {
            "batch_key": batch_key,
            "label_key": label_key or "",
            "rng": recorded_seed(rng),
        }
        entry |= sizes | seen
        entry["embedding_reused"] = cells.reused
        entry["batches"] = np.unique(full_column(own, batch_key, "batch_key").astype(str)).astype(
            str
        )
        everywhere = np.full((own.n_obs, vectors.shape[1]), np.nan, dtype=np.float32)
        everywhere[known] = vectors
        write(own, key_added, everywhere, entry)
        warn(entry, key_added)
    return result


def _joined(
    cells: Embedding, batch: np.ndarray, known: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return mixed vectors of the cells that have genes, and the size of each view."""
    tokens, reading = cells.tokens, cells.reading
    counts = read_counts(cells.adata, reading.layer).whole()
    counts = sparse.csr_matrix(add_columns(counts, tokens.genes.token)[known])
    batch, total = batch[known], tokens.ranked.total[known]
    halves = halve(
        counts, tokens.genes, tokens.values.kind, cells.loaded,
        max_tokens=reading.max_tokens, runtime=cells.runtime, rng=rng,
    )  # fmt: skip
    of_model = model_view(cells.vectors[known], total, batch, halves)
    of_genes = expression_view(counts, variable_genes(log_normalised(counts)), batch, halves)
    vectors = unit(mix(combined(of_genes, of_model, batch), batch, rng))
    dimensions = {"model": of_model.shape[1], "expression": of_genes.shape[1]}
    return vectors, {"cells_split": len(halves.cell), "dimensions": dimensions}


def _batches(adata: AnnData, key: str) -> np.ndarray:
    """One code for each cell; batches that cannot be integrated are rejected."""
    values = full_column(adata, key, "batch_key").astype(str)
    codes, names = pd.factorize(values, sort=True)
    if len(names) < 2:
        raise InputError(
            f"adata.obs[{key!r}] names one batch, {names[0]!r}: there is nothing to integrate",
            "give the column that tells batches apart, or use gm.tl.embed",
        )
    _refuse_single(codes, names, f"adata.obs[{key!r}]: batch", "leave it out, or join batches")
    return codes


def _labels(adata: AnnData, key: str, batch: np.ndarray, batch_key: str) -> np.ndarray:
    """One code for each cell, -1 where the label is missing."""
    values = column(adata, key, "label_key")
    codes, names = pd.factorize(values.astype(object))
    if len(names) < 2:
        raise InputError(
            f"adata.obs[{key!r}] holds {len(names)} different labels; tuning needs at least 2",
            "leave out label_key to integrate without labels",
        )
    fix = f"set it to NaN, so that the tuning does not see it: adata.obs[{key!r}]"
    _refuse_single(codes, names, f"adata.obs[{key!r}]: label", fix)
    seen = codes >= 0
    pairs = pd.crosstab(codes[seen], batch[seen]) > 0
    if (pairs.sum(axis=1) == 1).all():
        raise InputError(
            f"every label of {key!r} is seen in one batch of {batch_key!r} only: labels and "
            "batches are confounded, and what is biology and what is batch cannot be told apart",
            "add batches that share labels, or leave out label_key",
        )
    return codes


def _refuse_single(codes: np.ndarray, names: pd.Index, what: str, fix: str) -> None:
    """Refuse groups of one cell: nothing tells what its cells have in common."""
    single = names[np.bincount(codes[codes >= 0]) == 1].astype(str)
    if len(single):
        shown = ", ".join(map(repr, single[:5])) + (", …" if len(single) > 5 else "")
        raise InputError(f"{what} {shown} has one cell; at least 2 are needed", fix)


def _refuse_lost(codes: np.ndarray, known: np.ndarray, what: str, key: str) -> None:
    """Refuse groups of which fewer than two cells express a gene of the model."""
    size = np.bincount(codes[known & (codes >= 0)], minlength=codes.max() + 1)
    if (size < 2).any():
        raise InputError(
            f"fewer than 2 cells of a {what} of {key!r} express a gene of the model",
            "check that rows are cells, and gene_ids; or leave these cells out",
        )
