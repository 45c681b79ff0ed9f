"""What every metric asks of its arrays, checked before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from genemamba.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def as_embedding(X: Any) -> NDArray[np.float32]:
    """Return the embedding as float32 (n_cells, n_features)."""
    if hasattr(X, "toarray"):
        raise InputError("X is a sparse matrix, an embedding is dense", "pass X.toarray()")
    array = np.asarray(X, dtype=np.float32)
    if array.ndim != 2:
        raise InputError(
            f"X has shape {array.shape}, not (n_cells, n_features)",
            'pass e.g. adata.obsm["X_genemamba"]',
        )
    return array


def check_embedding(X: Any) -> NDArray[np.float32]:
    """Return the embedding as float32 (n_cells, n_features), all finite."""
    array = as_embedding(X)
    bad = int((~np.isfinite(array).all(axis=1)).sum())
    if bad:
        raise InputError(
            f"{bad} of {len(array)} cells have NaN or infinite values in the embedding",
            "leave them out of X and of every label array: keep = np.isfinite(X).all(axis=1)",
        )
    return array


def check_names(
    values: ArrayLike, n_cells: int, name: str
) -> tuple[NDArray[np.intp], NDArray[np.object_]]:
    """Return one integer code a cell and what the codes stand for; none missing."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(
            f"{name} has shape {array.shape}, not (n_cells,)",
            "pass one value a cell; column names go with an AnnData in place of X",
        )
    codes, names = pd.factorize(array, sort=False)
    if len(codes) != n_cells:
        raise InputError(
            f"{name} has {len(codes)} values for {n_cells} cells",
            "pass one value a cell, in the order of the rows of X",
        )
    missing = int((codes < 0).sum())
    if missing:
        raise InputError(
            f"{name} is missing (NaN) for {missing} of {n_cells} cells",
            "leave these cells out: keep = ~pd.isna(values)",
        )
    if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
        raise InputError(
            f"{name} holds fractions, e.g. {array[array != np.rint(array)][0]:.6g}",
            "pass cell types or batches, not measurements",
        )
    return codes, names


def check_groups(values: ArrayLike, n_cells: int, name: str) -> NDArray[np.intp]:
    """Return one integer code a cell; at least two groups, none missing."""
    codes, names = check_names(values, n_cells, name)
    if len(names) < 2:
        raise InputError(
            f"{name} has {len(names)} distinct value(s): {names.tolist()}; at least 2 are needed",
            "pass the obs column that tells the cells apart",
        )
    if len(names) == n_cells:
        raise InputError(
            f"{name} gives every cell a value of its own",
            "pass cell types or batches, not barcodes or measurements",
        )
    return codes


def check_batches(values: ArrayLike, n_cells: int, name: str = "batch") -> NDArray[np.intp]:
    """Return one integer code a cell; at least two batches of at least two cells."""
    codes = check_groups(values, n_cells, name)
    alone = np.flatnonzero(np.bincount(codes) == 1)
    if len(alone):
        batch = np.asarray(values)[codes == alone[0]][0]
        raise InputError(
            f"{len(alone)} value(s) of {name} have one cell only, e.g. {batch!s}",
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
