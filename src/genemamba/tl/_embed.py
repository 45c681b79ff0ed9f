"""Cells to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from anndata import AnnData

from genemamba import models
from genemamba._docs import documented
from genemamba._keys import OBSM_EMBEDDING
from genemamba.cells.open import cells_of
from genemamba.cells.read import Reading
from genemamba.cells.record import check_slots
from genemamba.tl._embedding import Embedding, Running, embed_into

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.models._load import ModelLike
    from genemamba.network.genemamba import Pooling
    from genemamba.network.runtime import Backend, BatchSize, Device, Precision
    from genemamba.tokens.organisms import Organism


@documented
def embed(
    adata: AnnData | MuData | str | PathLike[str],
    *,
    model: ModelLike = "genemamba-mini",
    mod: str | None = None,
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    organism: Organism = "auto",
    max_tokens: int = 2048,
    pooling: Pooling = "mean",
    batch_size: BatchSize = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    key_added: str = OBSM_EMBEDDING,
    out: str | PathLike[str] | None = None,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Embed cells: one vector per cell, ready for ``sc.pp.neighbors``.

    Each cell is read as its genes ranked by expression relative to their corpus median
    (:func:`genemamba.pp.rank_tokenize`) and passed through the model [1]_. Cells do not influence
    each other: neither order nor batch size changes a vector, except for rounding.

    Parameters
    ----------
    adata
        Cells × genes of human cells: raw counts, counts normalised per cell, or log1p of them
        (the log is then undone). Sparse or dense, integer or float; in memory, backed, lazy or
        dask: of these only a few thousand cells are read at a time. A dask array is read by the
        workers of the active ``dask.distributed`` client, if there is one. Scaled data are
        rejected, with a suggestion of what to use. With `out` also the path of an h5ad file or a
        zarr store. Or a MuData.
    {model}
    {reading}
    pooling
        ``"mean"`` of the final states of a cell's genes, or ``"cls"``, the state of a [CLS] token,
        for models trained with one.
    {running}
    key_added
        Slot to write to.
    out
        Zarr store to write to instead of `adata`, block by block, so that memory does not grow
        with the number of cells. The same call resumes after an interruption. Read it with
        ``anndata.read_zarr(out)``.
    {copy}

    Returns
    -------
    ``None``, or the modified copy. Writes, to `adata` or to the store `out`,

    ``adata.obsm["X_genemamba"]`` (or `key_added`)
        float32, ``n_obs × d_model``. Cells that express no known gene get NaN and are listed in a
        warning and in ``uns``.
    ``adata.uns["genemamba"]["X_genemamba"]`` (or `key_added`)
        Package version, sha256 of model and vocabulary, parameters, device, precision and backend
        used, kind of values found, genes matched, mean share of counts in unknown genes, cells
        without genes. ``"organism"``: ``name``, ``table`` of orthologues, number of
        ``genes_without_orthologue`` and their mean share of counts, ``counts_without_orthologue``.
        For mouse also ``genes_one_to_many`` and ``counts_one_to_many``: genes that have several
        human orthologues, or share one. Both kinds are left out. For macaque and pig the first
        kind includes the second.

    Raises
    ------
    InputError
        If the values cannot be ranked (negative, NaN, scaled, empty), names are not in the
        vocabulary, or the slot is taken; nothing has been written then. If `out` belongs to
        another call, or is being written.
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
    running = Running(device, precision, backend, batch_size)
    to = f"obsm[{key_added!r}]"
    with cells_of(adata, mod, copy, out, doing="embed", to=to) as (cells, result):
        check_slots(cells, key_added, OBSM_EMBEDDING, obsm=[] if out else [key_added])
        loaded = models.load(model)
        reading = Reading(layer, gene_ids, organism, max_tokens)
        embedding = Embedding(cells, loaded, reading, running, pooling=pooling, reuse=False)
        if out is None:
            embedding.write(cells, key_added, model)
        else:
            embed_into(out, embedding, key_added, model)
    return result
