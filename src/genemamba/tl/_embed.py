"""Cells to vectors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from anndata import AnnData

from genemamba import models
from genemamba._keys import OBSM_EMBEDDING
from genemamba.cells.names import genes_sha256
from genemamba.cells.open import cells_of
from genemamba.cells.read import Tokens, lazy, lost, no_genes, tokenise
from genemamba.cells.record import check_slots, entry_of, identity, record, recorded
from genemamba.errors import GeneMambaWarning
from genemamba.network.inference import check_pooling, embed_tokens
from genemamba.network.runtime import choose_runtime
from genemamba.tl._stream import embed_blocks

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.models._load import ModelLike
    from genemamba.network.genemamba import GeneMamba, Pooling
    from genemamba.network.runtime import Backend, Device, Precision
    from genemamba.tokens import GeneMatch


def embed(
    adata: AnnData | MuData | str | PathLike[str],
    *,
    model: ModelLike = "genemamba-mini",
    mod: str | None = None,
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    max_tokens: int = 2048,
    pooling: Pooling = "mean",
    batch_size: int | Literal["auto"] = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    key_added: str = OBSM_EMBEDDING,
    out: str | PathLike[str] | None = None,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Give each cell a vector in which cells of one type lie close together.

    Cells are ranked as in :func:`genemamba.pp.rank_tokenize` and read by the model [1]_. No
    training and no labels are involved. A cell's vector depends on that cell alone: not on its
    neighbours in the file, on batch size, or on padding (up to rounding, which bfloat16 does to a
    thousandth). Go on with
    ``sc.pp.neighbors(adata, use_rep="X_genemamba")``.

    Parameters
    ----------
    adata
        Cells × genes of human cells: raw counts, counts normalised per cell, or log1p of them
        (the log is then undone). Sparse or dense, integer or float; in memory, backed, lazily read
        or of dask, whose blocks the workers of an active ``dask.distributed`` client embed. With
        `out` also the path of an h5ad file or a zarr store. Or a MuData that has them.
    model
        Name of a checkpoint, a checkpoint folder, or a loaded model.
    mod
        Of a MuData, the modality to read and write; "rna", or the only one, if left out.
    layer
        Layer to read instead of ``X``; ``"raw"`` reads ``adata.raw``.
    gene_ids
        Column of ``adata.var``, or one name per gene, to use instead of ``adata.var_names``:
        gene symbols or Ensembl ids, with or without version.
    max_tokens
        Genes read of each cell, from the top of its ranking.
    pooling
        ``"mean"`` of the genes' final states, or ``"cls"``, the state of a [CLS] token, for models
        trained with one.
    batch_size
        Cells per batch; ``"auto"`` keeps the tokens per batch constant. Changes speed and memory.
    device
        ``"auto"`` takes a CUDA GPU if torch sees one, else the CPU. Or ``"cpu"``, ``"mps"``,
        ``"cuda"``, and of several GPUs ``"cuda:1"``.
    precision
        ``"auto"`` takes bfloat16 on GPUs and CPUs that compute in it quickly, else float32.
        bfloat16 vectors lie within 2 % of the float32 ones (relative Euclidean distance).
    backend
        ``"torch"`` runs on the package's plain code, ``"numba"`` on the same compiled for the
        processor, ``"cuda"`` on the kernels of mamba-ssm and causal-conv1d (``genemamba[cuda]``);
        ``"auto"`` takes the second on a CPU, the third on a CUDA device where they are installed
        and agree with the first. ``"triton"`` is the package's own kernel, not timed on a GPU yet.
        :func:`genemamba.doctor` says what runs, and why.
    key_added
        Slot to write to.
    out
        Zarr store to write to instead of `adata`, block by block, so that memory does not grow
        with the cells. Whatever stops it, the same call goes on where it stopped. Read it with
        ``anndata.read_zarr(out)``.
    copy
        Return a changed copy and leave `adata` alone.

    Returns
    -------
    ``None``, or the changed copy. Writes, to `adata` or to the store `out`,

    ``adata.obsm["X_genemamba"]`` (or `key_added`)
        float32, ``n_obs × d_model``. Cells in which no known gene is expressed get NaN, are named
        in a warning and in ``uns``.
    ``adata.uns["genemamba"]["X_genemamba"]`` (or `key_added`)
        Package version, sha256 of model and vocabulary, parameters, device, precision and backend
        used, kind of values found, genes matched, mean share of counts lost, cells without genes.

    Raises
    ------
    InputError
        If the values cannot be ranked (negative, NaN, scaled, empty), names are not
        in the vocabulary, or the slot is taken; nothing has been written then. If `out` is of
        another call, or being written.
    GeneMambaError
        If the disk of `out` is full; what was written is kept.
    CheckpointError
        If the model is unknown or damaged.

    References
    ----------
    .. [1] Qi et al., *GeneMamba: Efficient and Effective Foundation Model on Single Cell Data*.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.tl.embed(adata, layer="raw")
    >>> adata.obsm["X_genemamba"].dtype
    dtype('float32')
    >>> sc.pp.neighbors(adata, use_rep="X_genemamba")
    """
    with cells_of(adata, mod, out, copy) as (cells, result):
        check_slots(cells, key_added, obsm=[] if out else [key_added])
        loaded = models.load(model)
        how: dict[str, Any] = {
            "layer": layer, "gene_ids": gene_ids, "max_tokens": max_tokens, "pooling": pooling,
            "batch_size": batch_size, "device": device, "precision": precision, "backend": backend,
        }  # fmt: skip
        name = model if isinstance(model, str) else None
        if out is not None or lazy(cells, layer):
            vectors, entry = embed_blocks(cells, loaded, name, out=out, key=key_added, **how)
        else:
            embedded = embed_cells(cells, loaded, **how)
            vectors, entry = embedded.vectors, embedded.entry | identity(loaded, name)
        if out is None:
            assert vectors is not None
            write(cells, key_added, vectors, entry)
        warn(entry, key_added)
    return result


@dataclass(frozen=True, eq=False)
class Embedded:
    """Vectors of cells, their tokens, and what ``uns`` keeps about both."""

    vectors: np.ndarray
    tokens: Tokens
    entry: dict[str, Any]
    reused: bool = False

    def write(self, adata: AnnData, key: str) -> None:
        """Write vectors and record."""
        write(adata, key, self.vectors, self.entry)


def write(adata: AnnData, key: str, vectors: np.ndarray, entry: dict[str, Any]) -> None:
    """Write vectors and their record."""
    adata.obsm[key] = vectors
    record(adata, key, entry)


def embed_cells(
    adata: AnnData,
    loaded: GeneMamba,
    *,
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    max_tokens: int = 2048,
    pooling: Pooling = "mean",
    batch_size: int | Literal["auto"] = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    reuse: bool = False,
) -> Embedded:
    """Embed without writing: the part of :func:`embed` that other tools share.

    With `reuse`, vectors are taken that are there already, if :func:`written_before` finds them.
    """
    vocab = models.vocabulary(loaded)
    check_pooling(loaded, pooling)
    runtime = choose_runtime(device, precision, backend, batch_size)
    tokens = tokenise(adata, vocab, layer=layer, gene_ids=gene_ids, max_tokens=max_tokens)
    without = adata.obs_names[tokens.ranked.lengths == 0]
    if len(without) == adata.n_obs:
        raise no_genes()
    entry: dict[str, Any] = {
        **entry_of(
            loaded, runtime, layer=layer, gene_ids=gene_ids, max_tokens=max_tokens,
            pooling=pooling, batch_size=batch_size,
        ),
        **tokens.report(),
        "cells_without_genes": np.array(without, dtype=str),
    }  # fmt: skip
    if reuse:
        vectors = written_before(
            adata, loaded, tokens.genes, tokens.where, max_tokens=max_tokens, pooling=pooling
        )
        if vectors is not None:
            return Embedded(vectors, tokens, entry, reused=True)
    vectors = embed_tokens(loaded, tokens.ranked, pooling=pooling, runtime=runtime)
    return Embedded(vectors, tokens, entry)


def written_before(
    adata: AnnData,
    loaded: GeneMamba,
    genes: GeneMatch,
    where: str,
    *,
    max_tokens: int,
    pooling: Pooling = "mean",
) -> np.ndarray | None:
    """Return the embedding that is there if it was computed as one would be now.

    From the same layer, genes and number of tokens, by the same model. The values themselves are
    not compared, and those of a model that was never saved have no name to be known by.
    """
    before = recorded(adata, OBSM_EMBEDDING)
    if before.get("model_sha256") == "unsaved" or OBSM_EMBEDDING not in adata.obsm:
        return None
    now = {**identity(loaded), "input": where, "genes_sha256": genes_sha256(genes)}
    del now["model"]  # the same weights by another name
    params = before.get("params", {})
    if any(before.get(name) != value for name, value in now.items()) or (
        (params.get("max_tokens"), params.get("pooling")) != (max_tokens, pooling)
    ):
        return None
    return np.asarray(adata.obsm[OBSM_EMBEDDING], dtype=np.float32)


def warn(entry: Mapping[str, Any], key: str) -> None:
    """Warn of what a reader of the vectors has to know."""
    said, without = [], list(entry["cells_without_genes"])
    if entry["values"] == "log1p":
        said.append(
            f"{entry['input']} is logged ({entry['values_reason']}); "
            "the log was undone before ranking"
        )
    if entry.get("values_doubt"):
        said.append(f"{entry['input']}: {entry['values_doubt']}")
    if without:
        shown = ", ".join(without[:5]) + (", …" if len(without) > 5 else "")
        said.append(
            f"{len(without)} cells express no gene of the model and have NaN in obsm[{key!r}]: "
            f"{shown}; drop them before sc.pp.neighbors: "
            f"adata = adata[~np.isnan(adata.obsm[{key!r}]).any(axis=1)].copy()"
        )
    if text := lost(entry["counts_lost"]):
        said.append(text)
    if entry["gene_status"]["duplicate"] > 0.01 * entry["genes_known"]:  # some are in most files
        said.append(f"{entry['input']}: {entry['genes_added']}")
    for text in said:
        warnings.warn(text, GeneMambaWarning, stacklevel=3)
