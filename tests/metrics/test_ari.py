from __future__ import annotations

from math import comb

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from genemamba.errors import InputError
from genemamba.metrics import ari


def slow_ari(a, b):
    """Hubert and Arabie, from numbers of pairs."""
    both = sum(comb(int(np.sum((a == x) & (b == y))), 2) for x in set(a) for y in set(b))
    in_a = sum(comb(int(np.sum(a == x)), 2) for x in set(a))
    in_b = sum(comb(int(np.sum(b == y)), 2) for y in set(b))
    expected = in_a * in_b / comb(len(a), 2)
    return (both - expected) / ((in_a + in_b) / 2 - expected)


def test_agrees_with_a_slow_implementation_and_scikit_learn(cells):
    assert ari(cells.labels, cells.batch) == pytest.approx(slow_ari(cells.labels, cells.batch))
    assert ari(cells.labels, cells.batch) == adjusted_rand_score(cells.labels, cells.batch)


def test_names_do_not_matter_nor_the_order_of_arguments(cells):
    codes = np.unique(cells.labels, return_inverse=True)[1]
    assert ari(cells.labels, codes) == 1
    assert ari(cells.batch, codes) == pytest.approx(ari(codes, cells.batch))


def test_one_cluster_is_chance(cells):
    assert ari(cells.labels, np.zeros(240, int)) == 0


def test_bad_input(cells):
    with pytest.raises(InputError, match="1 distinct value"):
        ari(np.full(240, "T"), cells.batch)
    with pytest.raises(InputError, match="clusters has 239 values for 240 cells"):
        ari(cells.labels, cells.batch[:-1])
    with pytest.raises(InputError, match=r"clusters is missing \(NaN\)"):
        ari(cells.labels, np.where(cells.batch == cells.batch[0], None, cells.batch))
