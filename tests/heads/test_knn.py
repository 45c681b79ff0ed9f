from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from genemamba.heads import Reference, knn


def cells(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)


def test_exact_search_is_that_of_scikit_learn() -> None:
    X, Q = cells(1500), cells(1100, seed=1)
    index, distance = Reference(X, np.zeros(1500, int), 1).search(Q, 7)
    expected, nearest = NearestNeighbors(n_neighbors=7).fit(X).kneighbors(Q)
    np.testing.assert_array_equal(index, nearest)
    np.testing.assert_allclose(distance, expected, atol=1e-4)


@pytest.mark.slow  # pynndescent compiles
def test_the_index_finds_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Q = cells(1500), cells(200, seed=1)
    exact = Reference(X, np.zeros(1500, int), 1).search(Q, 10)[0]
    monkeypatch.setattr(knn, "EXACT_UP_TO", 100)
    found = Reference(X, np.zeros(1500, int), 1).search(Q, 10)[0]
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)]
    assert np.mean(shared) > 0.95


def test_votes_of_a_slow_implementation() -> None:
    X, y, Q = cells(60), np.arange(60) % 3, cells(5, seed=1)
    reference = Reference(X, y, 4)
    for cell, row in zip(Q, reference.logits(Q, n_neighbors=9), strict=True):
        distance = np.linalg.norm(X - cell, axis=1)
        nearest = np.argsort(distance)[:9]
        weight = np.exp(-5 * (distance[nearest] / distance[nearest].mean()) ** 2)
        votes = np.array([weight[y[nearest] == c].sum() + 0.1 * weight.mean() for c in range(3)])
        np.testing.assert_allclose(np.exp(row[:3]), votes / votes.sum(), rtol=1e-4)
        assert np.isneginf(row[3])  # a class without reference cells


def test_fewer_reference_cells_than_neighbours() -> None:
    reference = Reference(cells(4), np.array([0, 0, 1, 1]), 2)
    assert np.isfinite(reference.logits(cells(3, seed=1))).all()
    assert np.isfinite(reference.mean_distance(cells(3, seed=1))).all()


def test_identical_cells_do_no_harm() -> None:
    reference = Reference(np.ones((20, 3), np.float32), np.repeat([0, 1], 10), 2)
    assert np.isfinite(reference.logits(np.ones((2, 3), np.float32))).all()


@pytest.mark.parametrize("n", [40, 300])
def test_voters_of_the_own_fold_are_left_out(n: int) -> None:
    X, y, Q = cells(n), np.arange(n) % 3, cells(30, seed=1)
    X[: n // 2] += 4  # so that some cells have neighbours of one fold only
    Q[:10] += 4
    fold = np.repeat([0, 1, 2], [n // 2, n // 4, n // 4])
    reference, out = Reference(X, y, 3), np.arange(30) % 3
    near = reference.without(Q, reference.search(Q, 2 * knn.VOTERS), fold, out)
    found = reference.votes(near, reference.voters(fold)[out])
    for k in range(3):
        other = Reference(X[fold != k], y[fold != k], 3)
        np.testing.assert_allclose(found[out == k], other.logits(Q[out == k]), atol=1e-4)
        far = np.nanmean(near[1][out == k][:, : knn.NEAREST], axis=1)
        np.testing.assert_allclose(far, other.mean_distance(Q[out == k]), atol=1e-4)
