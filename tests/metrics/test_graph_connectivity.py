from __future__ import annotations

import numpy as np
import pytest
import scib_metrics
from scib_metrics.nearest_neighbors import NeighborsResults
from scipy.spatial.distance import cdist

from genemamba.metrics import graph_connectivity


def exact_neighbors(X, k=15):
    distances = cdist(X.astype(float), X.astype(float))
    return np.argsort(distances, axis=1)[:, :k], np.sort(distances, axis=1)[:, :k]


def slow_connectivity(X, labels):
    indices, _ = exact_neighbors(X)
    shares = []
    for label in set(labels):
        left, largest = set(np.flatnonzero(labels == label)), 0
        n = len(left)
        while left:
            front, part = [left.pop()], 1
            while front:
                i = front.pop()
                found = {j for j in left if j in indices[i] or i in indices[j]}
                left -= found
                part += len(found)
                front += found
            largest = max(largest, part)
        shares.append(largest / n)
    return np.mean(shares)


def test_agrees_with_a_slow_implementation(cells):
    expected = slow_connectivity(cells.X, cells.labels)
    assert graph_connectivity(cells.X, cells.labels) == pytest.approx(expected, abs=0.02)


def test_is_no_lower_than_the_directed_form(cells):
    indices, distances = exact_neighbors(cells.X)
    directed = scib_metrics.graph_connectivity(NeighborsResults(indices, distances), cells.labels)
    assert graph_connectivity(cells.X, cells.labels) >= directed - 0.02


def test_a_type_in_two_places_scores_one_half(perfect):
    halves = np.where(np.isin(perfect.labels, ["B", "NK"]), "lymphoid", perfect.labels)
    sizes = [np.sum(perfect.labels == t) for t in ("B", "NK")]
    assert graph_connectivity(perfect.X, perfect.labels) == 1
    assert graph_connectivity(perfect.X, halves) == pytest.approx((3 + max(sizes) / sum(sizes)) / 4)


def test_fewer_cells_than_neighbours():
    X = np.array([[0.0], [0.1], [5.0], [5.1]])
    assert graph_connectivity(X, list("aabb")) == 1
