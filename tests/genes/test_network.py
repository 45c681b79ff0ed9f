from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from genemamba.genes.network import (
    adjacency,
    distance_matrix,
    jaccard,
    jaccard_test,
    mean_distance,
)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)


def test_distances_and_their_mean(x) -> None:
    d = distance_matrix(x)
    np.testing.assert_allclose(d, cdist(x, x), atol=1e-6)
    assert mean_distance(d) == pytest.approx(
        np.mean([d[i, j] for i in range(40) for j in range(i)])
    )


def test_nobody_is_connected_to_himself(x) -> None:
    near = adjacency(distance_matrix(x), 3.0)
    assert not near.diagonal().any()
    assert np.array_equal(near, near.T)


def test_jaccard_counted_edge_by_edge(x) -> None:
    d = distance_matrix(x)
    a, b = adjacency(d, 2.5), adjacency(distance_matrix(x[:, :3]), 2.0)
    edges = [{(i, j) for i in range(40) for j in range(i) if m[i, j]} for m in (a, b)]
    assert jaccard(a, b) == len(edges[0] & edges[1]) / len(edges[0] | edges[1])
    assert jaccard(a, a) == 1
    assert np.isnan(jaccard(a & False, b & False))


def test_chance_by_renaming_genes(x) -> None:
    rng = np.random.default_rng(1)
    d = distance_matrix(x)
    a, b = adjacency(d, 2.5), adjacency(distance_matrix(x + 0.1 * rng.normal(size=x.shape)), 2.5)
    found, chance, p = jaccard_test(a, b, 99, rng)
    assert found > 0.5 > chance
    assert p == 0.01
    draws = [rng.permutation(40) for _ in range(99)]
    slow = np.mean([jaccard(a[np.ix_(i, i)], b) for i in draws])
    assert chance == pytest.approx(slow, abs=0.01)
    other = adjacency(distance_matrix(rng.normal(size=x.shape)), 2.5)
    assert jaccard_test(a, other, 99, rng)[2] > 0.05
    assert jaccard_test(a & False, a & False, 99, rng)[2] == 1
