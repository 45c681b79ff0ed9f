"""The shell of what runs block by block: where cells come from, and where results go."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData

from genemamba._anndata import check_backed, is_path, losses, no_genes, report
from genemamba._keys import UNS
from genemamba._version import __version__
from genemamba.errors import InputError
from genemamba.io.counts import BLOCK, Counts
from genemamba.io.files import choose_modality, opened
from genemamba.io.store import filling
from genemamba.io.stream import Step, fill

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.tokens import GeneMatch, Ranked


@contextmanager
def cells_of(
    adata: AnnData | MuData | str | PathLike[str], mod: str | None, out: object, copy: bool
) -> Iterator[tuple[AnnData, AnnData | MuData | None]]:
    """Give the cells to read and write, and what a function returns: with `copy` the whole copy.

    Raises
    ------
    InputError
        If a path has no place for its results, or `copy` asks for a second; see :func:`opened_in`.
    """
    if out is not None and copy:
        raise InputError("out and copy=True: results go to one place", "leave out copy")
    if is_path(adata) and out is None:
        raise InputError(
            f"adata is a path, {fspath(adata)!r}, and there is no out",
            "give out='results.zarr', or read the file: adata = anndata.read_h5ad(path)",
        )
    result = None
    if copy:
        assert not isinstance(adata, (str, PathLike))
        check_backed(modality(adata, mod), copy=True)
        result = adata.copy()
    with opened_in(adata if result is None else result, mod) as cells:
        yield cells, result


@contextmanager
def opened_in(adata: AnnData | MuData | str | PathLike[str], mod: str | None) -> Iterator[AnnData]:
    """Give an AnnData itself, one of a MuData, or what a path leads to.

    Raises
    ------
    InputError
        If `mod` is not there.
    """
    if is_path(adata):
        with opened(adata, mod) as cells:
            yield cells
    else:
        yield modality(adata, mod)


def modality(adata: AnnData | MuData, mod: str | None) -> AnnData:
    """Return the AnnData of a modality; "rna", or the only one, if none is named."""
    if not isinstance(getattr(adata, "mod", None), Mapping):
        if mod is not None:
            raise InputError(f"mod={mod!r}, and adata is no MuData", "leave out mod")
        return adata
    return adata.mod[choose_modality(list(adata.mod), mod)]


def said_of(ranked: Ranked) -> dict[str, Any]:
    """Return what a block adds to the record of all."""
    return {
        "lost": losses(ranked),
        "tokens": int(ranked.lengths.sum()),
        "without": np.flatnonzero(ranked.lengths == 0).tolist(),
    }


def summed(
    adata: AnnData, counts: Counts, genes: GeneMatch, said: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the record of all blocks.

    Raises
    ------
    InputError
        If no cell has a token.
    """
    n_cells = max(1, counts.n_cells)
    lost, tokens = (sum(block[what] for block in said) / n_cells for what in ("lost", "tokens"))
    without = [
        start + cell
        for start, block in zip(counts.starts, said, strict=True)
        for cell in block["without"]
    ]
    if len(without) == counts.n_cells:
        raise no_genes()
    found = report(genes, counts.values, counts.where, lost, tokens)
    return {**found, "cells_without_genes": np.asarray(adata.obs_names[without], dtype=str)}


def into_store(
    out: str | PathLike[str],
    adata: AnnData,
    counts: Counts,
    genes: GeneMatch,
    step: Step,
    *,
    key: str,
    width: int,
    dtype: type,
    entry: dict[str, Any],
    doing: str,
) -> dict[str, Any]:
    """Fill a store with what `step` makes of every block; go on if it was begun. Return the record.

    Raises
    ------
    InputError
        If `out` is no name of a zarr store, or see :func:`~genemamba.io.store.filling`.
    """
    path = Path(out)
    if path.suffix != ".zarr":
        raise InputError(f"out={fspath(out)!r} is no zarr store", "give a name that ends in .zarr")
    settings = {
        "version": __version__,
        "key": key,
        "input": counts.where,
        "values": counts.values.kind,
        "cells": counts.n_cells,
        "cells_sha256": _digest(adata.obs_names),
        "genes_sha256": _digest(genes.token.tolist()),
        "block": BLOCK,
        **{what: said for what, said in entry.items() if what != "params"},
        **entry["params"],
    }
    with filling(path, adata.obs_names, key, width, dtype, settings) as store:
        if not store.finished():
            said = fill(counts, step, store, doing=doing)
            record = {"version": __version__, **entry, **summed(adata, counts, genes, said)}
            store.finish({UNS: {key: record}})
        return store.record


def _digest(items: Any) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item}\0".encode())
    return digest.hexdigest()
