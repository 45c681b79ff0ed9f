"""Cells unlike a reference are told from its own."""

import numpy as np
import pytest

from genemamba.heads.novelty import Novelty

RNG = np.random.default_rng(0)


def population(n, shift=0.0):
    return RNG.normal(shift, 1, (3, n)).astype(np.float32)


def test_cells_of_the_reference_are_uniform():
    named = RNG.integers(0, 4, 3_000)
    novelty = Novelty(population(3_000), named)
    found = novelty.of(population(3_000), RNG.integers(0, 4, 3_000))
    assert abs((found > 0.95).mean() - 0.05) < 0.015
    assert abs(found.mean() - 0.5) < 0.02


@pytest.mark.parametrize("n", [60, 200])
def test_few_cells_of_many_classes_are_not_called_novel_more_often(n):
    """Held-out cells count among themselves, new ones do not: both have to."""
    shares = []
    for _ in range(40):
        novelty = Novelty(population(n), RNG.integers(0, 8, n))
        found = novelty.of(population(500), RNG.integers(0, 8, 500))
        shares.append((found > 0.95).mean())
    assert 0.02 < np.mean(shares) < 0.06


def test_one_unlike_measure_is_enough_and_several_are_clearer():
    novelty = Novelty(population(2_000), np.zeros(2_000, dtype=int))
    near, one, all_ = population(500), population(500), population(500, 2.0)
    one[1] += 4
    named = np.zeros(500, dtype=int)
    shares = [(novelty.of(cells, named) > 0.95).mean() for cells in (near, one, all_)]
    assert shares[0] < 0.1 < 0.6 < shares[1]
    assert shares[2] > 0.9


def test_a_dense_class_has_a_limit_of_its_own():
    """Cells at a distance that is usual for a loose class are novel in a dense one."""
    own = np.concatenate([RNG.uniform(0, 1, 500), RNG.uniform(0, 10, 500)])[None]
    novelty = Novelty(own.astype(np.float32), np.repeat([0, 1], 500))
    cells = np.full((1, 2), 5, dtype=np.float32)
    dense, loose = novelty.of(cells, np.array([0, 1]))
    assert dense > 0.95 > 0.8 > loose


def test_a_class_that_no_held_out_cell_was_given_uses_all_cells():
    novelty = Novelty(population(200), np.zeros(200, dtype=int))
    cells = population(50)
    assert np.isfinite(novelty.of(cells, np.full(50, 7))).all()


def test_cells_without_a_vector_stay_missing():
    novelty = Novelty(population(200), np.zeros(200, dtype=int))
    cells = population(3)
    cells[:, 1] = np.nan
    assert np.isnan(novelty.of(cells, np.zeros(3, dtype=int))).tolist() == [False, True, False]
