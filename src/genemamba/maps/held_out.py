"""How well a map serves cells that it does not hold: its own, laid on a map without them.

Shapes: S held-out cells, D features of the embedding, P components, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genemamba.heads.calibration import fit_temperature, probabilities
from genemamba.heads.folds import held_out_folds
from genemamba.heads.knn import NEAREST, VOTERS, Reference
from genemamba.heads.novelty import Novelty
from genemamba.maps.space import Space
from genemamba.maps.transfer import voted

_LEAST_COUNTED = 0.1  # of the cells
_POOL = 5_000
BELONGS = 0.05
"""Mapping quality below which a cell does not belong on the map."""


@dataclass(frozen=True, eq=False)
class Expected:
    """What cells that belong on a map look like: distances and labels of held-out ones."""

    distance: np.ndarray
    """``(1 or 2, S)`` float32, mean distance to the nearest cells, on the map and by embedding."""
    named: np.ndarray
    """``(S,)`` the class that these voted for; 0 without classes."""
    temperature: float = 1.0
    pool: np.ndarray | None = None
    """``(≤ 5,000, D)`` float32, embeddings of cells of the map; None if its vectors are these."""

    def quality(
        self, near: np.ndarray, named: np.ndarray, embedding: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the fraction of held-out cells that lie as far or farther, ``(M,)`` float32.

        Mostly among those with the same label; NaN distances give NaN. Axes of a map tell its own
        classes apart and not what differs from all of them, so the distance of the `embedding`
        counts as much, if it is given.
        """
        measures = [near]
        if self.pool is not None and embedding is not None:
            measures.append(Reference.unlabelled(self.pool).mean_distance(embedding))
        judge = Novelty(self.distance[: len(measures)], self.named)
        return 1 - judge.of(np.array(measures), named)

    def confidence(self, shares: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities from shares of votes, ``(M, C)`` float32."""
        return probabilities(np.log(shares), self.temperature)


def hold_out(
    embedding: np.ndarray,
    expressed: np.ndarray | None,
    codes: np.ndarray,
    batch: np.ndarray | None,
    rng: np.random.Generator,
    *,
    plain: bool = False,
) -> tuple[Expected, dict[str, Any]]:
    """Lay each fifth of the cells, or whole batches, on a map of the others.

    Cells whose class is not among the others do not count: they would not belong there. If nearly
    none counts, as where each batch has types of its own, a fifth of the cells is held out instead;
    if each cell has a type of its own, types do not count.

    Parameters
    ----------
    embedding, expressed, codes
        ``(n_cells, D)``, ``(n_cells, P)`` or None, and the class of each cell, -1 for none.
    batch
        ``(n_cells,)`` codes, or None.
    plain
        The map's vectors are embeddings as they are.

    Returns
    -------
    What to expect, and what ``map.json`` says of it.
    """
    n_classes = max(1, int(codes.max()) + 1)
    whole = batch is not None and len(np.unique(batch)) > 1
    nameless = np.full_like(codes, -1)
    for groups, own in ((batch, codes), (None, codes), (None, nameless))[not whole :]:
        distance, share, truth = _laid(embedding, expressed, own, n_classes, groups, rng, plain)
        if len(truth) >= _LEAST_COUNTED * len(codes):
            break
    named, known = share.argmax(axis=1), truth >= 0
    about: dict[str, Any] = {"cells": len(truth), "batches": groups is not None}
    temperature = 1.0
    if known.any():
        temperature = fit_temperature(np.log(share[known]), truth[known])
        about |= {"accuracy": float((named == truth)[known].mean())}
    pool = None if plain else _some(embedding, rng)
    return Expected(distance, named, temperature, pool), about


def _some(embedding: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return some of the cells, with values that float16 can hold."""
    if len(embedding) > _POOL:
        embedding = embedding[np.sort(rng.choice(len(embedding), _POOL, replace=False))]
    return embedding.astype(np.float16).astype(np.float32)


def _laid(
    embedding: np.ndarray,
    expressed: np.ndarray | None,
    codes: np.ndarray,
    n_classes: int,
    groups: np.ndarray | None,
    rng: np.random.Generator,
    plain: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean distances, the shares of votes and the class of each held-out cell."""
    distances = [np.empty((1 if plain else 2, 0), np.float32)]
    shares, truths = [np.empty((0, n_classes), np.float32)], [np.empty(0, codes.dtype)]
    for rest, own in held_out_folds(len(embedding), groups, rng):
        seen = np.isin(codes[own], codes[rest])
        own = own[seen]
        if not len(own) or not len(rest):
            continue
        both = (embedding[rest], None if expressed is None else expressed[rest])
        space = Space.plain(both[0], codes[rest]) if plain else Space.fit(*both, codes[rest], None)
        pool = Reference.unlabelled(space.place(*both))
        X = space.place(embedding[own], None if expressed is None else expressed[own])
        found, distance = pool.search(X, VOTERS)
        measures = [distance[:, :NEAREST].mean(axis=1)]
        if not plain:
            by_embedding = Reference.unlabelled(_some(embedding[rest], rng))
            measures.append(by_embedding.mean_distance(embedding[own]))
        distances.append(np.array(measures))
        shares.append(voted(codes[rest][found], distance, n_classes))
        truths.append(codes[own])
    distance = np.concatenate(distances, axis=1).astype(np.float32)
    return distance, np.concatenate(shares), np.concatenate(truths)
