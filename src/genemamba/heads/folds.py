"""Folds of cells that are held out together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def held_out_folds(
    n_cells: int, groups: np.ndarray | None, rng: np.random.Generator, n_folds: int = 5
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (training cells, held-out cells); every cell is held out once.

    Two or more groups (donors, batches) are held out as wholes, the largest ones first into the
    smallest fold. Otherwise cells are drawn whatever their class: folds with equal shares of every
    class would reveal to a classifier how common each class is among its test cells.
    """
    fold = np.empty(n_cells, dtype=np.intp)
    if groups is not None and len(np.unique(groups)) > 1:
        codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)[1:]
        load = np.zeros(min(n_folds, len(sizes)))
        for group in np.argsort(-sizes, kind="stable"):
            fold[codes == group] = load.argmin()
            load[load.argmin()] += sizes[group]
    else:
        fold[rng.permutation(n_cells)] = np.arange(n_cells) % n_folds
    for k in range(fold.max() + 1):
        yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)
