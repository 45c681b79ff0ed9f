"""Cells of several batches to vectors in one space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from genemamba import models
from genemamba._keys import OBSM_INTEGRATED
from genemamba._machine import same_threads
from genemamba.cells.labels import column
from genemamba.cells.read import read_counts
from genemamba.cells.record import check_slots
from genemamba.errors import InputError
from genemamba.integration.halves import expression_view, halve, model_view
from genemamba.integration.mixing import combined, log_normalised, mix, supervised, unit
from genemamba.network.runtime import choose_runtime
from genemamba.tl._embed import Embedded, embed_cells, warn, write
from genemamba.tokens import add_columns

if TYPE_CHECKING:
    from genemamba.models._load import ModelLike
    from genemamba.network import GeneMamba
    from genemamba.network.runtime import Device, Precision, Runtime

N_HVG = 2000


def integrate(
    adata: AnnData,
    batch_key: str,
    *,
    label_key: str | None = None,
    model: ModelLike = "genemamba-mini",
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    max_tokens: int = 2048,
    batch_size: int | Literal["auto"] = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    key_added: str = OBSM_INTEGRATED,
    rng: int | np.random.Generator = 0,
    copy: bool = False,
) -> AnnData | None:
    """Give cells of several batches vectors in which types stay apart and batches mix.

    Made from two views of each cell: the model's frozen embedding, without what the cell's depth
    predicts of it, and principal components of `adata`'s own log-normalised highly variable genes.
    Up to 2,000 cells are cut into random halves. Only directions in which halves agree are kept,
    in units of what they disagree by. Batches are then mixed as in Harmony [1]_: one shift for
    each batch and soft cluster. No labels are involved, and the model is not trained. Unlike
    ``gm.tl.embed``, a cell's vector depends on all cells of `adata`.

    With `label_key` the space is then projected on what tells the labels apart (the paper's
    label-tuned protocol [2]_, here by linear discriminants). Scores with the same labels mean
    something only on cells that the tuning did not see: set their label to NaN before the call.

    Parameters
    ----------
    adata
        As for :func:`genemamba.tl.embed`. Values that are not counts are scaled so that the
        smallest of a cell is one count, and rounded, before cells are cut into halves.
    batch_key
        Column of ``adata.obs`` with the batch (donor, library, technology) of each cell.
    label_key
        Column of ``adata.obs`` with cell types to tune on. Cells whose label is missing are
        embedded, but not seen by the tuning. Whole numbers count as names.
    model
        Name of a checkpoint, a checkpoint folder, or a loaded model.
    layer
        Layer to read instead of ``X``; ``"raw"`` reads ``adata.raw``.
    gene_ids
        Column of ``adata.var``, or one name per gene, to use instead of ``adata.var_names``.
    max_tokens
        Genes read of each cell, from the top of its ranking.
    batch_size
        Cells per batch of the model; ``"auto"`` keeps the tokens per batch constant.
    device
        ``"auto"`` takes a CUDA GPU if torch sees one, else the CPU.
    precision
        ``"auto"`` takes bfloat16 on GPUs and CPUs that compute in it quickly, else float32.
    key_added
        Slot to write to.
    rng
        Seed, or generator, of the halves and the clusters. The same seed gives the same vectors.
    copy
        Return a changed copy and leave `adata` alone.

    Returns
    -------
    ``None``, or the changed copy. Writes

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
    check_slots(adata, key_added, copy=copy, obsm=[key_added])
    batch = _batches(adata, batch_key)
    labels = None if label_key is None else _labels(adata, label_key, batch, batch_key)
    loaded = models.load(model)
    embedded = embed_cells(
        adata,
        loaded,
        layer=layer,
        gene_ids=gene_ids,
        max_tokens=max_tokens,
        batch_size=batch_size,
        device=device,
        precision=precision,
        reuse=True,
    )
    known = embedded.tokens.ranked.lengths > 0
    _refuse_lost(batch, known, "batch", batch_key)
    if labels is not None and label_key is not None:
        _refuse_lost(labels, known, "label", label_key)
    entry = embedded.entry
    if isinstance(model, str):
        entry["model"] = model
    entry["params"] |= {
        "batch_key": batch_key,
        "label_key": label_key or "",
        "rng": rng if isinstance(rng, int) else "",
    }
    entry["embedding_reused"] = embedded.reused
    entry["batches"] = np.unique(adata.obs[batch_key].astype(str)).astype(str)

    whole = add_columns(read_counts(adata, layer).whole(), embedded.tokens.genes.token)
    counts = sparse.csr_matrix(whole[known])
    runtime = choose_runtime(device, precision)
    vectors, sizes = _joined(embedded, counts, batch[known], loaded, runtime, rng)
    entry |= sizes
    if labels is not None:
        vectors = supervised(vectors, labels[known])
        seen = adata.obs_names[known & (labels >= 0)].to_numpy(dtype=str)
        entry["label_tuned"] = {"label_key": label_key, "cells": seen}

    if copy:
        adata = adata.copy()
    everywhere = np.full((adata.n_obs, vectors.shape[1]), np.nan, dtype=np.float32)
    everywhere[known] = vectors
    write(adata, key_added, everywhere, entry)
    warn(entry, key_added)
    return adata if copy else None


def _joined(
    embedded: Embedded,
    counts: sparse.csr_matrix,
    batch: np.ndarray,
    network: GeneMamba,
    runtime: Runtime,
    rng: int | np.random.Generator,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return mixed vectors of the cells that have genes, and how they came about."""
    rng = np.random.default_rng(rng)
    tokens = embedded.tokens
    known = tokens.ranked.lengths > 0
    most = embedded.entry["params"]["max_tokens"]
    halves = halve(
        counts, tokens.genes, tokens.values.kind, network, max_tokens=most, runtime=runtime, rng=rng
    )
    of_model = model_view(embedded.vectors[known], tokens.ranked.total[known], batch, halves)
    of_genes = expression_view(counts, _variable(counts), batch, halves)
    vectors = unit(mix(combined(of_genes, of_model, batch), batch, rng))
    dimensions = {"model": of_model.shape[1], "expression": of_genes.shape[1]}
    return vectors, {"cells_split": len(halves.cell), "dimensions": dimensions}


def _variable(counts: sparse.csr_matrix) -> np.ndarray:
    """Choose highly variable genes; all, where there are few."""
    if counts.shape[1] <= N_HVG:
        return np.arange(counts.shape[1])
    work = AnnData(log_normalised(counts))
    with same_threads():
        sc.pp.highly_variable_genes(work, flavor="seurat", n_top_genes=N_HVG)
    return np.flatnonzero(work.var["highly_variable"])


def _batches(adata: AnnData, key: str) -> np.ndarray:
    """One code for each cell; batches that cannot be integrated are refused."""
    values = column(adata, key, "batch_key")
    missing = int(values.isna().sum())
    if missing:
        raise InputError(
            f"adata.obs[{key!r}] is missing (NaN) for {missing} of {len(values)} cells",
            f"leave these cells out: adata = adata[adata.obs[{key!r}].notna()].copy()",
        )
    codes, names = pd.factorize(values.astype(str), sort=True)
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
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 != 0).any():
        raise InputError(
            f"adata.obs[{key!r}] holds numbers that are not whole: measurements, not labels",
            "give a column of names, or cut the measurement into classes first (pandas.cut)",
        )
    codes, names = pd.factorize(values.astype(object), use_na_sentinel=True)
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
