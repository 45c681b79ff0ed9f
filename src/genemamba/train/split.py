"""Choose the labelled cells that validate or judge a fine-tuning instead of training it."""

from __future__ import annotations

import numpy as np

_FEWEST_GROUPS = 3
Parts = tuple[np.ndarray, np.ndarray]


def hold_out(labels: np.ndarray, groups: np.ndarray | None, fraction: float, seed: int) -> Parts:
    """Split cells into training and validation, sorted indices; every class stays in training.

    With three groups (donors, batches) or more, whole groups are held out, because cells of one
    donor are similar and would make the model look too good. Groups are drawn until `fraction` of
    the cells is reached; one with more than half of the cells, or with all cells of a class, stays.
    Otherwise, or if every group has to stay, `fraction` of each class is drawn; a class with one
    cell keeps it for training.
    """
    rng = np.random.default_rng(seed)
    held = _whole_groups(labels, groups, fraction, rng)
    if not held.any():
        for label in np.unique(labels):
            cells = rng.permutation(np.flatnonzero(labels == label))
            wanted = max(1, round(fraction * len(cells)))
            held[cells[: min(wanted, len(cells) - 1)]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def set_apart(labels: np.ndarray, groups: np.ndarray | None, fraction: float, seed: int) -> Parts:
    """Split off cells that neither train nor validate, to report how good the result is.

    Whole groups, as in :func:`hold_out`. Otherwise cells of any class, because a fixed fraction of
    every class would reveal how common each is; two cells of every class stay.
    """
    rng = np.random.default_rng((seed, 1))
    held = _whole_groups(labels, groups, fraction, rng)
    if not held.any():
        left, wanted = np.bincount(labels), max(1, round(fraction * len(labels)))
        for cell in rng.permutation(len(labels)):
            held[cell] = left[labels[cell]] > 2 and wanted > 0
            left[labels[cell]] -= held[cell]
            wanted -= held[cell]
    return np.flatnonzero(~held), np.flatnonzero(held)


def _whole_groups(
    labels: np.ndarray, groups: np.ndarray | None, fraction: float, rng: np.random.Generator
) -> np.ndarray:
    held = np.zeros(len(labels), dtype=bool)
    if groups is None or len(np.unique(groups)) < _FEWEST_GROUPS:
        return held
    classes = np.unique(labels)
    for group in rng.permutation(np.unique(groups)):
        wider = held | (groups == group)
        if wider.mean() <= 0.5 and np.isin(classes, labels[~wider]).all():
            held = wider
        if held.mean() >= fraction:
            break
    return held
