"""The input of the metrics: arrays, or an AnnData and the names of its columns."""

from __future__ import annotations

import warnings
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from genemamba._keys import OBSM_EMBEDDING, OBSM_INTEGRATED, UNS, recorded
from genemamba._labels import CellTable, full_column, names
from genemamba.errors import GeneMambaWarning, InputError

Embedding: TypeAlias = ArrayLike | CellTable
Groups: TypeAlias = ArrayLike  # a value per cell; with an AnnData, the name of a column
_MADE_BY = {
    OBSM_EMBEDDING: "gm.tl.embed(adata)",
    OBSM_INTEGRATED: "gm.tl.integrate(adata, batch_key)",
}


def read(X: Embedding, use_rep: str, **groups: Any) -> tuple[Any, ...]:
    """Return the embedding, and an integer code per cell for each of `groups`; None stays None.

    Warns if `labels` also tuned the embedding of some of these cells.
    """
    if _is_table(X):
        columns = {k: None if v is None else full_column(X, v, k) for k, v in groups.items()}
        embedding, key = slot(X, use_rep), groups.get("labels")
        if seen := int(cells_seen(X, use_rep, key).sum()):
            warnings.warn(
                f"obsm[{use_rep!r}] was tuned with obs[{key!r}] on {seen} of these {len(X.obs)} "
                "cells: the score is in-sample. Score held-out cells: adata[~adata.obs_names.isin("
                f'adata.uns["{UNS}"]["{use_rep}"]["label_tuned"]["cells"])]',
                GeneMambaWarning,
                stacklevel=3,
            )
        X, groups = embedding, columns
    array = as_embedding(X)
    bad = int((~np.isfinite(array).all(axis=1)).sum())
    if bad:
        raise InputError(
            f"{bad} of {len(array)} cells have NaN or infinite values in the embedding",
            "leave them out of X and of every label array: keep = np.isfinite(X).all(axis=1)",
        )
    least = {"batch": 2}  # one cell cannot mix with others
    return array, *(
        v if v is None else check_groups(v, len(array), k, least.get(k, 1))
        for k, v in groups.items()
    )


def _is_table(X: Embedding) -> TypeGuard[CellTable]:
    return hasattr(X, "obs") and hasattr(X, "obsm")


def slot(adata: CellTable, use_rep: str) -> ArrayLike:
    """Return ``obsm[use_rep]``."""
    if use_rep not in adata.obsm:
        have = ", ".join(map(repr, adata.obsm))
        maker = _MADE_BY.get(use_rep)
        raise InputError(
            f"adata.obsm has no {use_rep!r}; it {f'has {have}' if have else 'is empty'}",
            f"make it first: {maker}" if maker else "give one of these as use_rep",
        )
    return adata.obsm[use_rep]


def cells_seen(adata: CellTable, use_rep: str, label_key: Any) -> NDArray[np.bool_]:
    """Say of each cell whether tuning with these labels saw it."""
    tuned = recorded(adata, use_rep).get("label_tuned")
    if not tuned or tuned["label_key"] != label_key:
        return np.zeros(len(adata.obs), dtype=bool)
    return adata.obs_names.isin(tuned["cells"])


def as_embedding(X: Any) -> NDArray[np.float32]:
    """Return the embedding as float32 (n_cells, n_features)."""
    if sparse.issparse(X):  # a view of an array has toarray, too
        raise InputError("X is a sparse matrix; an embedding is dense", "pass X.toarray()")
    array = np.asarray(X, dtype=np.float32)
    if array.ndim != 2:
        raise InputError(
            f"X has shape {array.shape}, not (n_cells, n_features)",
            'pass e.g. adata.obsm["X_genemamba"]',
        )
    return array


def check_names(values: ArrayLike, n_cells: int | None, name: str) -> NDArray[np.intp]:
    """Return an integer code per cell, none missing."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(
            f"{name} has shape {array.shape}, not (n_cells,)",
            "pass one value a cell; column names go with an AnnData in place of X",
        )
    if n_cells is not None and len(array) != n_cells:
        raise InputError(
            f"{name} has {len(array)} values for {n_cells} cells",
            "pass one value a cell, in the order of the rows of X",
        )
    codes = pd.factorize(names(pd.Series(array), name))[0]
    if missing := int((codes < 0).sum()):
        raise InputError(
            f"{name} is missing (NaN) for {missing} of {len(array)} cells",
            "leave these cells out: keep = ~pd.isna(values)",
        )
    return codes


def check_groups(
    values: ArrayLike, n_cells: int | None, name: str, least: int = 1
) -> NDArray[np.intp]:
    """Return an integer code per cell; at least two groups of at least `least` cells."""
    codes = check_names(values, n_cells, name)
    found = pd.unique(np.asarray(values))
    if len(found) < 2:
        raise InputError(
            f"{name} has {len(found)} distinct value(s): {found.tolist()}; at least 2 are needed",
            "pass a column that divides the cells into groups",
        )
    if len(found) == len(codes):
        raise InputError(
            f"{name} has a different value for every cell",
            "pass cell types or batches, not barcodes or measurements",
        )
    small = found[np.bincount(codes) < least]
    if len(small):
        raise InputError(
            f"{len(small)} value(s) of {name} have one cell only, e.g. {small[0]!s}",
            "leave these cells out, or merge the batches: one cell cannot mix with others",
        )
    return codes


def check_predictions(
    labels: ArrayLike, predicted: ArrayLike
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return true and predicted classes as codes of one kind, none missing."""
    arrays = np.asarray(labels), np.asarray(predicted)
    for array, name in zip(arrays, ("labels", "predicted"), strict=True):
        check_names(array, len(arrays[0]) if arrays[0].ndim else 0, name)
    numbers = [array.dtype.kind in "iuf" for array in arrays]
    if numbers[0] != numbers[1]:
        raise InputError(
            "one of labels and predicted holds numbers, the other names: no two would be equal",
            "bring both to names, e.g. with .astype(str)",
        )
    codes = pd.factorize(np.concatenate([array.astype(object) for array in arrays]))[0]
    return codes[: len(arrays[0])], codes[len(arrays[0]) :]
