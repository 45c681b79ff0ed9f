"""Prediction sets cover what they promise, and the reported accuracy is the true one.

Cells are drawn from one simulated population, labelled ones and new ones alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from genemamba.heads import fit_head
from genemamba.heads.head import Kind

POPULATIONS = {
    "no signal": (3, 0.0, 1.0),
    "weak signal": (3, 0.3, 1.0),
    "ten classes, rare ones among them": (10, 0.35, 0.77),
}
"""Number of classes, how far apart they lie, and how much rarer each is than the one before."""


class Measured(NamedTuple):
    coverage: float
    accuracy: float
    reported: float


def population(name: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    n_classes, distance, rarer = POPULATIONS[name]
    share = rarer ** np.arange(n_classes)
    spread = np.geomspace(2, 0.2, 50)
    centre = np.random.default_rng(7).normal(size=(n_classes, 50)) * distance * spread
    y = rng.choice(n_classes, n, p=share / share.sum())
    return (centre[y] + rng.normal(size=(n, 50)) * spread).astype(np.float32), y, n_classes


def measured(name: str, kind: Kind, n: int, seeds: int, asked: int) -> Measured:
    """Fit to `n` cells of each draw, ask about others; mean over the draws."""
    rows = []
    for seed in range(seeds):
        X, y, n_classes = population(name, n + asked, np.random.default_rng([seed, n]))
        classes = tuple(map(str, range(n_classes)))
        head = fit_head(X[:n], y[:n], classes, kind, rng=np.random.default_rng(seed))
        proba, truth = head.proba(X[n:]), y[n:]
        covered = head.sets(X[n:], proba, 0.9)[np.arange(len(truth)), truth].mean()
        accuracy = (proba.argmax(axis=1) == truth).mean()
        rows.append((covered, accuracy, head.info["held_out_accuracy"]))
    return Measured(*np.mean(rows, axis=0))


@pytest.mark.parametrize("name", POPULATIONS)
def test_neighbours_in_short(name: str) -> None:
    found = measured(name, "knn", 300, seeds=12, asked=500)
    assert found.coverage == pytest.approx(0.9, abs=0.02)
    assert found.reported == pytest.approx(found.accuracy, abs=0.03)


def test_penalty_is_not_chosen_on_the_cells_that_judge() -> None:
    found = measured("no signal", "probe", 90, seeds=8, asked=500)
    assert found.coverage > 0.88
    assert found.reported < found.accuracy + 0.04


@pytest.mark.slow
@pytest.mark.parametrize("n", [150, 600])
@pytest.mark.parametrize("kind", ["knn", "probe"])
@pytest.mark.parametrize("name", POPULATIONS)
def test_over_forty_seeds(name: str, kind: Kind, n: int) -> None:
    found = measured(name, kind, n, seeds=40, asked=4000)
    print(name, kind, n, found)
    assert found.coverage == pytest.approx(0.9, abs=0.01)
    assert found.reported == pytest.approx(found.accuracy, abs=0.01)
