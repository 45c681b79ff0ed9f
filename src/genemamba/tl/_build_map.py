"""Cells to a reference map."""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba import models
from genemamba._docs import documented
from genemamba._files import ResumableFolder, alone, write_json
from genemamba._progress import tell_end
from genemamba._rng import Rng, generator_of, seed_of
from genemamba._version import __version__
from genemamba.cells.read import Reading, no_genes
from genemamba.cells.record import identity
from genemamba.errors import GeneMambaWarning, InputError, shown
from genemamba.maps.build import write_map
from genemamba.maps.reference_map import MANIFEST, ReferenceMap
from genemamba.tl._embedding import Running, known_by
from genemamba.tl._map_sources import Sources, opened_sources
from genemamba.tl._mapped import fit_space, write_vectors

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.models._load import ModelLike
    from genemamba.network.runtime import Backend, BatchSize, Device, Precision
    from genemamba.tokens.organisms import Organism

SETTINGS, WORK, VECTORS = "settings.json", "map", "vectors.npy"
LEAST = 10  # cells: the quality of a cell is judged by so many


@documented
def build_map(
    adata: AnnData | MuData | str | PathLike[str] | Sequence[AnnData | str | PathLike[str]],
    *,
    out: str | PathLike[str],
    batch_key: str | None = None,
    label_key: str | None = None,
    keep: Sequence[str] = (),
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
) -> ReferenceMap:
    """Make a reference map of labelled cells: a folder that other cells can be laid on for ever.

    Cells are embedded, their vectors indexed for search, and laid out by UMAP. The same call
    resumes after an interruption. Without pickles; the folder can be copied, or published and
    named with :func:`genemamba.maps.register`.

    Parameters
    ----------
    adata
        Cells × genes, as for :func:`genemamba.tl.embed`; the path of an h5ad file or zarr store,
        of which a few thousand cells are read at a time; or several of these.
    out
        Folder to write.
    batch_key
        Column of ``obs`` with donors or batches. Whole batches are then held out to calibrate
        confidence and mapping quality, and differences between batches count less in distances. Of
        several `adata`, each is at least one batch.
    label_key
        Column of ``obs`` with cell types, which :func:`genemamba.tl.map` will transfer.
    keep
        Further columns of ``obs`` to keep, such as tissue, disease and study; of several `adata`,
        the name of the file is kept as ``"source"``, unless that is one of these columns.
    {model}
    {reading}
    {running}
    {rng}

    Returns
    -------
    The map, as :func:`genemamba.maps.load` opens it; writes nothing to `adata`. The folder has
    ``map.json`` (model, parameters, sha256 of every file, accuracy on held-out cells), vectors in
    8 bits with their index, and columns, names of cells and UMAP.

    Raises
    ------
    InputError
        If a column is missing, or names cells instead of kinds of cells; several `adata` share
        hardly a gene; there are fewer than 10 cells; `out` holds something else; the disk is full
        (repeat the call then).

    Examples
    --------
    >>> import tempfile, scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> folder = tempfile.mkdtemp() + "/blood"
    >>> blood = gm.tl.build_map(adata, out=folder, label_key="bulk_labels", layer="raw")
    >>> blood.n_cells
    700
    """
    folder, seed, begun = _folder(out), seed_of(rng), time.monotonic()
    loaded = models.load(model)
    reading = Reading(layer, gene_ids, organism, max_tokens)
    running = Running(device, precision, backend, batch_size)
    with opened_sources(adata, mod) as cells:
        sources = Sources(cells, loaded, reading, running)
        obs, batch = sources.table(label_key, batch_key, keep)
        sources.require_common_genes()
        sources.require_runnable()
        about: dict[str, Any] = {
            "version": __version__,
            "label_key": label_key or "",
            "batch_key": batch_key or "",
            "model": {**identity(loaded, model), "model_sha256": known_by(loaded)},
            "params": {**reading.params, "rng": seed},
            "sources": sources.names,
            "cells_sha256": sources.sha256(obs),
        }
        if (folder / MANIFEST).is_file():
            return _finished(folder, about)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(
                f"out={str(out)!r} exists and is not a map", "give another out, or delete it first"
            )
        partial = _partial(folder)
        work = ResumableFolder(partial, "map", SETTINGS)
        with work.writing(), alone(partial):
            if (folder / MANIFEST).is_file():  # by another process that has just finished
                return _finished(folder, about)
            if work.begun:
                work.require_same(about, json.loads((partial / SETTINGS).read_text("utf-8")))
            else:
                write_json(partial / SETTINGS, about)
            sources.embed(partial, model)
            kept = sources.known
            _check_number(kept)
            codes = _codes(obs, kept, label_key)
            space, expected, judged = fit_space(sources, codes, batch, generator_of(seed))
            vectors = write_vectors(sources, space, partial / VECTORS)
            (partial / WORK).mkdir(exist_ok=True)
            write_map(
                partial / WORK,
                lambda start, stop: vectors[start:stop],
                obs[kept],
                None if batch is None else batch[kept],
                space,
                expected,
                sources.measured(),
                {**about, "held_out": judged},
                seed=seed,
            )
            (partial / WORK).replace(folder)
            shutil.rmtree(partial, ignore_errors=True)
    tell_end("build_map", len(obs), begun, str(folder))
    return ReferenceMap.open(folder)


def _folder(out: str | PathLike[str]) -> Path:
    """Return the folder to write; raise unless its name can be one."""
    if not isinstance(out, (str, PathLike)) or not Path(out).name:
        raise InputError(f"out={shown(out)} is not the path of a folder", 'give out="my-map", say')
    folder = Path(out).expanduser()
    try:
        _partial(folder).exists()
    except OSError as error:
        raise InputError(
            f"out={shown(out)} cannot be a folder ({error.strerror})", "give another"
        ) from None
    return folder


def _partial(folder: Path) -> Path:
    return folder.with_name(folder.name + ".partial")


def _codes(obs: pd.DataFrame, kept: np.ndarray, label_key: str | None) -> np.ndarray:
    """Return the class of each cell among those of the map; -1 for none."""
    codes = np.full(len(obs), -1)
    if label_key is not None:
        codes[kept] = obs[label_key][kept].cat.remove_unused_categories().cat.codes
    return codes


def _finished(folder: Path, about: dict[str, Any]) -> ReferenceMap:
    """Return the map that an earlier, equal call wrote; remove what that may have left."""
    found = ReferenceMap.open(folder)
    for name in ("cells_sha256", "params", "label_key", "batch_key"):
        if found.about.get(name) != about[name]:
            raise InputError(
                f"{folder} is a map of other cells, columns or settings ({name} differs)",
                "give another out, or delete it first",
            )
    if found.about["model"]["model_sha256"] != about["model"]["model_sha256"]:
        raise InputError(f"{folder} is a map made with another model", "give another out")
    shutil.rmtree(_partial(folder), ignore_errors=True)
    return found


def _check_number(kept: np.ndarray) -> None:
    """Raise if there are too few cells; warn of those that are left out."""
    if not kept.any():
        raise no_genes()
    if (n := int(kept.sum())) < LEAST:
        raise InputError(f"{n} cells are too few for a map", f"give {LEAST} or more")
    if n := int((~kept).sum()):
        warnings.warn(
            f"{n:,} cells express no gene of the model and are not on the map",
            GeneMambaWarning,
            stacklevel=3,
        )
