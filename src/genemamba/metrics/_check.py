"""What every metric asks of its arrays, checked before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genemamba.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def check_embedding(X: ArrayLike) -> NDArray[np.float32]:
    """Return the embedding as float32 (n_cells, n_features), all finite."""
    if hasattr(X, "toarray"):
        raise InputError("X is a sparse matrix, an embedding is dense", "pass X.toarray()")
    array = np.asarray(X, dtype=np.float32)
    if array.ndim != 2:
        raise InputError(
            f"X has shape {array.shape}, not (n_cells, n_features)",
            'pass e.g. adata.obsm["X_genemamba"]',
        )
    bad = int((~np.isfinite(array).all(axis=1)).sum())
    if bad:
        raise InputError(
            f"{bad} of {len(array)} cells have NaN or infinite values in the embedding",
            "leave them out of X and of every label array: keep = np.isfinite(X).all(axis=1)",
        )
    return array


def check_groups(values: ArrayLike, n_cells: int, name: str) -> NDArray[np.intp]:
    """Return one integer code a cell; at least two groups, none missing."""
    codes, names = pd.factorize(np.asarray(values), sort=False)
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
