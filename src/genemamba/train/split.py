"""Which labelled cells judge a training run instead of taking part in it."""

from __future__ import annotations

import numpy as np

_FEWEST_GROUPS = 3


def hold_out(
    labels: np.ndarray, groups: np.ndarray | None, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split cells into a training and a validation part; no class leaves training altogether.

    With three groups (donors, batches) or more, whole groups are held out, because cells of one
    donor resemble each other and would flatter the model. Groups are drawn until `fraction` of the
    cells is reached; one with more than half of the cells, or with all cells of a class, stays.
    Otherwise, or if every group has to stay, `fraction` of each class is drawn; a class with one
    cell keeps it for training.

    Returns
    -------
    Sorted indices of training and validation cells; the latter are empty if every class has one
    cell.
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    if groups is not None and len(np.unique(groups)) >= _FEWEST_GROUPS:
        held = _whole_groups(labels, groups, fraction, rng)
    if not held.any():
        for label in np.unique(labels):
            cells = rng.permutation(np.flatnonzero(labels == label))
            wanted = max(1, round(fraction * len(cells)))
            held[cells[: min(wanted, len(cells) - 1)]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def set_apart(
    labels: np.ndarray, groups: np.ndarray | None, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split off cells that neither train nor choose, so that they can say how good the result is.

    Whole groups, as in :func:`hold_out`. Otherwise cells whatever their class, because a share
    of every class would tell how common each is among them; two cells of every class stay.

    Returns
    -------
    Sorted indices of the cells that stay and of those set apart.
    """
    rng = np.random.default_rng((seed, 1))
    held = np.zeros(len(labels), dtype=bool)
    if groups is not None and len(np.unique(groups)) >= _FEWEST_GROUPS:
        held = _whole_groups(labels, groups, fraction, rng)
    if not held.any():
        left, wanted = np.bincount(labels), max(1, round(fraction * len(labels)))
        for cell in rng.permutation(len(labels)):
            held[cell] = left[labels[cell]] > 2 and wanted > 0
            left[labels[cell]] -= held[cell]
            wanted -= held[cell]
    return np.flatnonzero(~held), np.flatnonzero(held)


def _whole_groups(
    labels: np.ndarray, groups: np.ndarray, fraction: float, rng: np.random.Generator
) -> np.ndarray:
    held = np.zeros(len(labels), dtype=bool)
    classes = np.unique(labels)
    for group in rng.permutation(np.unique(groups)):
        wider = held | (groups == group)
        if wider.mean() <= 0.5 and np.isin(classes, labels[~wider]).all():
            held = wider
        if held.mean() >= fraction:
            break
    return held
