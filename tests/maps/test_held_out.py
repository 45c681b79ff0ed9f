from __future__ import annotations

import numpy as np
import pytest

from genemamba.heads.folds import held_out_folds
from genemamba.maps import held_out
from genemamba.maps.held_out import BELONGS, NEAREST, Expected, hold_out
from genemamba.maps.space import Space

N, D = 400, 6


def cells(n: int, seed: int, far: float = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings of three types, and these."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, n)
    X = rng.normal(size=(n, D)) + 4 * np.eye(3, D)[codes]
    X[:, -1] += far
    return X.astype(np.float32), codes


def quality(expected: Expected, X: np.ndarray, pool: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the quality of cells on a map of these."""
    space = Space.fit(pool, None, codes, None)
    near = held_out.Reference.unlabelled(space.place(pool, None))
    found, distance = near.search(space.place(X, None), NEAREST)
    return expected.quality(distance.mean(axis=1), codes[found[:, 0]])


@pytest.mark.parametrize(("batch", "close"), [(None, 0.12), (np.arange(N) % 8, 0.16)])
def test_quality_is_uniform_on_cells_like_those_of_the_map(
    batch: np.ndarray | None, close: float
) -> None:
    X, codes = cells(N, 0)
    expected, about = hold_out(X, None, codes, batch, np.random.default_rng(0))
    assert about["cells"] == N
    assert about["batches"] == (batch is not None)
    assert about["accuracy"] > 0.95
    found = quality(expected, cells(N, 1)[0], X, codes)
    assert (found < BELONGS).mean() < 0.09
    deciles = np.quantile(found, np.linspace(0.1, 0.9, 9))
    np.testing.assert_allclose(deciles, np.linspace(0.1, 0.9, 9), atol=close)
    far = quality(expected, cells(100, 2, far=8)[0], X, codes)
    assert (far < BELONGS).mean() > 0.95
    assert np.isnan(expected.quality(np.array([np.nan]), np.array([0]))).all()


def test_whole_batches_are_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    X, codes = cells(N, 0)
    batch, seen = np.arange(N) % 7, []

    def folds(n: int, groups: np.ndarray | None, rng: np.random.Generator) -> list:
        seen.extend(held_out_folds(n, groups, rng))
        return seen

    monkeypatch.setattr(held_out, "held_out_folds", folds)
    hold_out(X, None, codes, batch, np.random.default_rng(0))
    assert len(seen) == 5
    for rest, own in seen:
        assert not set(batch[rest]) & set(batch[own])


def test_a_batch_that_differs_makes_cells_that_differ_belong() -> None:
    X, codes = cells(N, 0)
    batch = np.arange(N) % 4
    X[:, -1] += 3.0 * batch
    whole, _ = hold_out(X, None, codes, batch, np.random.default_rng(0))
    parts, _ = hold_out(X, None, codes, None, np.random.default_rng(0))
    assert np.median(whole.distance) > 1.2 * np.median(parts.distance)


@pytest.mark.parametrize(
    ("codes", "batch", "counted"),
    [
        (np.arange(N) % 3, np.arange(N) % 3, True),  # each batch has types of its own
        (np.arange(N), None, False),  # each cell has a type of its own
        (np.full(N, -1), None, False),  # no labels
        (np.zeros(N, int), None, True),  # one label
        (np.where(np.arange(N) < 300, -1, 0), np.zeros(N, int), True),  # one batch
    ],
)
def test_there_is_always_something_to_expect(
    codes: np.ndarray, batch: np.ndarray | None, counted: bool
) -> None:
    X, _ = cells(N, 0)
    expected, about = hold_out(X, None, codes, batch, np.random.default_rng(0))
    assert about["cells"] == expected.distance.shape[1] > 0.9 * N
    assert not about["batches"]
    assert ("accuracy" in about) == counted
    found = quality(expected, cells(N, 1)[0], X, codes)
    assert (found < BELONGS).mean() < 0.1
    far = quality(expected, cells(100, 2, far=20)[0], X, codes)
    assert (far < BELONGS).all()


def test_confidence_is_calibrated() -> None:
    rng = np.random.default_rng(5)
    X, codes = cells(2000, 6)
    X += rng.normal(0, 2, X.shape).astype(np.float32)  # types overlap
    expected, about = hold_out(X, None, codes, None, np.random.default_rng(0))
    assert 0.4 < about["accuracy"] < 0.9
    shares = np.array([[0.7, 0.2, 0.1], [0.4, 0.3, 0.3]], dtype=np.float32)
    found = expected.confidence(shares)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    power = shares.astype(float) ** (1 / expected.temperature)
    np.testing.assert_allclose(found, power / power.sum(axis=1, keepdims=True), rtol=1e-4)
