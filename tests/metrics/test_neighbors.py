from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from genemamba.metrics import _neighbors
from genemamba.metrics._neighbors import nearest_neighbors


def test_agrees_with_all_distances(cells) -> None:
    found = nearest_neighbors(cells.X, 0)
    distance = cdist(cells.X, cells.X)
    assert (found.indices[:, 0] == np.arange(len(cells.X))).all()
    np.testing.assert_array_equal(found.indices, np.argsort(distance, axis=1)[:, :15])
    np.testing.assert_allclose(found.distances, np.sort(distance, axis=1)[:, :15], atol=1e-4)


@pytest.mark.slow  # pynndescent compiles
def test_the_index_for_many_cells_finds_nearly_the_same(
    cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = nearest_neighbors(cells.X, 0).indices
    monkeypatch.setattr(_neighbors, "EXACT_UP_TO", 0)
    other = nearest_neighbors(cells.X, 0).indices
    shared = [len(set(a) & set(b)) for a, b in zip(exact, other, strict=True)]
    assert np.mean(shared) > 0.98 * 15


@pytest.mark.parametrize("n", [2, 5])
def test_fewer_cells_than_neighbours(n: int) -> None:
    X = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    X.flags.writeable = False
    assert nearest_neighbors(X, 0).indices.shape == (n, n)


def test_a_cell_is_its_own_first_neighbour_among_equals() -> None:
    found = nearest_neighbors(np.zeros((40, 3), dtype=np.float32), 0)
    assert (found.indices[:, 0] == np.arange(40)).all()
    assert all(len(set(row)) == 15 for row in found.indices)
