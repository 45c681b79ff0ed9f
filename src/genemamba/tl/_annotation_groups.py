"""What groups of cells, such as clusters, are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from genemamba.cells.labels import UNKNOWN

if TYPE_CHECKING:
    from genemamba.tl._annotation import Annotation


def named_groups(
    found: Annotation, groups: pd.Series, *, unknown: bool
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the label of each cell's group, and what the record keeps of the groups.

    A group is called what its cells are called in the mean; it is unknown if that is not sure
    enough or, with `unknown`, if most of its cells are unlike the reference. A label that was given
    to a cell is certain. Cells without an embedding have no part in it.
    """
    names, code = _groups(groups)
    certain = ~found.asked & (found.best >= 0)
    cells = np.flatnonzero(certain | np.isfinite(found.confidence))
    n_cells = np.bincount(code[cells], minlength=len(names))
    mean_of = sparse.csr_matrix(
        (1 / n_cells[code[cells]], (code[cells], cells)), shape=(len(names), len(code))
    )
    table = _means(found, mean_of, certain)
    table[n_cells == 0] = np.nan
    best = found.pick(table)
    unlike = found.unlike & found.asked
    if unknown:
        best = np.where(mean_of @ unlike.astype(float) > 0.5, -1, best)
    nameless = found.nameless(unknown=unknown)
    below = found.below[np.maximum(found.best, 0), np.maximum(best, 0)[code]]
    agrees = np.where(best[code] < 0, nameless, ~nameless & (found.best >= 0) & below)
    own = np.take_along_axis(table, np.maximum(best, 0)[:, None], axis=1)[:, 0]
    label = np.array([*found.classes, UNKNOWN if unknown else np.nan], dtype=object)[best]
    return label[code], {
        "groupby": str(groups.name),
        "name": names,
        "label": np.array(["" if pd.isna(name) else name for name in label], dtype=str),
        "confidence": np.where(best < 0, np.nan, own).astype(np.float32),
        "agreement": np.where(n_cells, mean_of @ agrees.astype(float), np.nan).astype(np.float32),
        "cells": np.bincount(code, minlength=len(names)),
    }


def _groups(groups: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return names, numbers in their order and others sorted, and the group of each cell."""
    names, code = np.unique(groups.astype(str).to_numpy(dtype=str), return_inverse=True)
    order = sorted(range(len(names)), key=lambda i: _rank(str(names[i])))
    return names[order], np.argsort(order)[code]


def _rank(name: str) -> tuple[bool, int, str]:
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name


def _means(found: Annotation, mean_of: sparse.csr_matrix, certain: np.ndarray) -> np.ndarray:
    """Return how probable each class is in each group, ``(n_groups, n_classes)``."""
    cells = np.flatnonzero(certain)
    given = sparse.csr_matrix(
        (np.ones(len(cells)), (cells, found.best[cells])), shape=found.table.shape
    )
    others = mean_of @ sparse.diags((~certain).astype(float))
    others.eliminate_zeros()  # given cells have rows of NaN
    sums = others @ found.table
    sums = sums.toarray() if sparse.issparse(sums) else sums
    return sums + (mean_of @ given).toarray()
