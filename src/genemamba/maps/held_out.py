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

BELONGS = 0.05
"""Mapping quality below which a cell does not belong on the map."""


@dataclass(frozen=True, eq=False)
class Expected:
    """What cells that belong on a map look like: distances and labels of held-out ones."""

    distance: np.ndarray
    """``(S,)`` float32, mean distance to the nearest cells of the map."""
    named: np.ndarray
    """``(S,)`` the class that these voted for; 0 without classes."""
    temperature: float = 1.0

    def quality(self, distance: np.ndarray, named: np.ndarray) -> np.ndarray:
        """Return the fraction of held-out cells that lie as far or farther, ``(M,)`` float32.

        Mostly among those with the same label; NaN distances give NaN.
        """
        judge = Novelty(self.distance[None], self.named)
        return 1 - judge.of(distance[None], named)

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

    Cells whose class is not among the others do not count: they would not belong there.

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
    n_classes = int(codes.max()) + 1
    distances, shares, truths = [], [], []
    for rest, own in held_out_folds(len(embedding), batch, rng):
        seen = np.isin(codes[own], codes[rest])
        own = own[seen]
        if not len(own) or not len(rest):
            continue
        both = (embedding[rest], None if expressed is None else expressed[rest])
        space = Space.plain(both[0], codes[rest]) if plain else Space.fit(*both, codes[rest], None)
        pool = Reference.unlabelled(space.place(*both))
        X = space.place(embedding[own], None if expressed is None else expressed[own])
        found, distance = pool.search(X, VOTERS)
        distances.append(distance[:, :NEAREST].mean(axis=1))
        shares.append(voted(codes[rest][found], distance, max(1, n_classes)))
        truths.append(codes[own])
    batches = batch is not None and len(np.unique(batch)) > 1
    if not distances:  # every batch has types of its own
        return Expected(np.zeros(1, np.float32), np.zeros(1, np.int64)), {"cells": 0}
    share, truth = np.concatenate(shares), np.concatenate(truths)
    named, known = share.argmax(axis=1), truth >= 0
    about: dict[str, Any] = {"cells": len(truth), "batches": batches}
    temperature = 1.0
    if known.any():
        temperature = fit_temperature(np.log(share[known]), truth[known])
        about |= {"accuracy": float((named == truth)[known].mean())}
    return Expected(np.concatenate(distances).astype(np.float32), named, temperature), about
