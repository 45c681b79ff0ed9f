"""A model and your own cells to a model of these cells."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from anndata import AnnData

from genemamba import models
from genemamba._docs import documented
from genemamba._rng import Rng, seed_of
from genemamba.cells.open import opened_in
from genemamba.cells.read import Reading
from genemamba.tl._adapt_cells import read_cells
from genemamba.tl._adapt_folder import AdaptFolder, check_length
from genemamba.tl._embedding import Running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData

    from genemamba.models._load import ModelLike
    from genemamba.network import GeneMamba
    from genemamba.network.runtime import Backend, BatchSize, Device, Precision
    from genemamba.tokens.organisms import Organism


@documented
def adapt(
    adata: AnnData | MuData | str | PathLike[str],
    *,
    out: str | PathLike[str],
    batch_key: str | None = None,
    minutes: float = 5,
    steps: int | None = None,
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
    rng: Rng = 0,
) -> GeneMamba:
    """Adapt a model to your own cells, for tissues and states that it has hardly seen.

    A few minutes of training on these cells, without labels: the model finds a cell by one part of
    its counts among the other parts of others, and predicts hidden genes. It starts from the
    released weights, to which the principal components of the cells are joined. Held-out cells of
    every library then decide how far to follow the training: their counts are split into halves,
    neighbours are found by one, and the weights are kept, between those before and after, whose
    neighbours predict the other half best [1]_. Below a gain of 3 %, the model stays as it was.

    The same call resumes after an interruption. It needs the extra ``genemamba[train]``.

    Parameters
    ----------
    adata
        As for :func:`genemamba.tl.embed`, at least 200 cells. Of more than 20,000, a random part is
        used. A cell with fewer than 20 known genes is left out.
    out
        Folder of the adapted checkpoint: new, or that of the same call.
    batch_key
        Column of ``obs`` with libraries: samples, donors or batches. A training step compares cells
        of one library only, so that differences between libraries are not learned. Libraries of
        fewer than 30 cells are joined into one, with a warning.
    minutes
        How long it takes, about. A few steps are timed at the start, and their number is fixed.
    steps
        Number of training steps, instead of `minutes`: for a result that another machine, or a busy
        one, repeats.
    {model}
    {reading}
    {running}
    {rng}

    Returns
    -------
    The adapted model, for `model` of every function. It writes nothing to `adata`. `out` is a
    checkpoint, for :func:`genemamba.models.load`, with a model card ``README.md``: the cells it
    saw, and held-out scores before and after. ``model.provenance["adapted"]`` has the same as a
    dictionary. Embeddings by such a model have ``adapted`` in their record in ``uns``, and
    :func:`genemamba.metrics.compare` names them so. The classifier without labels of the model, and
    reference maps made with it, do not apply to the adapted one.

    Raises
    ------
    InputError
        If there are fewer than 200 cells, `batch_key` is not in ``obs``, `minutes` is too short for
        one step, `out` holds something else, the disk is full, or as :func:`genemamba.tl.embed`.
    CheckpointError
        If the model is unknown or damaged.
    FloatingPointError
        If training diverges.

    References
    ----------
    .. [1] Batson, Royer and Webber, *Molecular cross-validation for single-cell RNA-seq*,
       bioRxiv 2019.

    Examples
    --------
    >>> import tempfile, scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> out = tempfile.mkdtemp() + "/adapted"
    >>> model = gm.tl.adapt(adata, out=out, layer="raw", steps=1)
    >>> gm.tl.embed(adata, model=out, layer="raw")
    >>> "adapted" in adata.uns["genemamba"]["X_genemamba"]
    True
    """
    check_length(minutes, steps)
    reading, seed = Reading(layer, gene_ids, organism, max_tokens), seed_of(rng)
    runtime = Running(device, precision, backend, batch_size).here()
    loaded = models.load(model)
    with opened_in(adata, mod) as opened:
        cells = read_cells(opened, models.vocabulary(loaded), reading, batch_key, seed)
    folder = AdaptFolder(
        Path(out).expanduser(), loaded, cells, reading, seed, minutes=minutes, steps=steps
    )
    return folder.finished() or folder.run(runtime, model)
