from __future__ import annotations

import numpy as np
import pytest

from genemamba.heads.knn import Reference
from genemamba.maps.layout import NEAREST, lay_out, place

ISLANDS = np.array([[0.0, 0.0], [10.0, 0.0]])


def test_a_cell_lies_on_the_island_of_most_of_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    on = np.array([[0] * 9 + [1] * 6, [1] * 8 + [0] * 7, [0] * 15])
    xy = ISLANDS[on] + rng.normal(0, 0.3, (3, 15, 2))
    found = place(xy, np.ones((3, 15), np.float32))
    assert found.dtype == np.float32
    assert np.abs(found - ISLANDS[[0, 1, 0]]).max() < 1.0  # and not between them
    few_but_near = place(xy[:1], np.where(on[:1] == 1, 0.1, 3).astype(np.float32))
    assert np.abs(few_but_near - ISLANDS[1]).max() < 1.0


def test_alone_as_among_others() -> None:
    rng = np.random.default_rng(1)
    xy, distance = rng.normal(size=(50, NEAREST, 2)), rng.uniform(0, 2, (50, NEAREST))
    together = place(xy, distance.astype(np.float32))
    for cell in range(0, 50, 7):
        alone = place(xy[[cell]], distance[[cell]].astype(np.float32))
        assert alone.tobytes() == together[[cell]].tobytes()


def test_neighbours_at_no_distance_or_at_one_place() -> None:
    same = np.tile(ISLANDS[1], (1, 15, 1))
    np.testing.assert_allclose(place(same, np.zeros((1, 15), np.float32)), ISLANDS[[1]])
    np.testing.assert_allclose(place(same[:, :1], np.ones((1, 1), np.float32)), ISLANDS[[1]])


@pytest.mark.slow  # UMAP compiles
def test_umap_is_the_same_twice_and_keeps_neighbours_together() -> None:
    rng = np.random.default_rng(2)
    kind = np.repeat([0, 1], 40)
    X = (rng.normal(size=(80, 5)) + 20 * kind[:, None]).astype(np.float32)
    near, distance = Reference.unlabelled(X).search(X, NEAREST)
    xy = lay_out(near, distance, 3)
    assert xy.tobytes() == lay_out(near, distance, 3).tobytes()
    assert xy.shape == (80, 2) and xy.dtype == np.float32
    nearest = Reference.unlabelled(xy).search(xy, 6)[0][:, 1:]
    assert (kind[nearest] == kind[:, None]).mean() > 0.95


@pytest.mark.parametrize("n", [1, 2, 3])
def test_so_few_cells_lie_in_a_row(n: int) -> None:
    found = lay_out(np.zeros((n, n), int), np.zeros((n, n), np.float32), 0)
    np.testing.assert_array_equal(found, [[i, 0] for i in range(n)])
