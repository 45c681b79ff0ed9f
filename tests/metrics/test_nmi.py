from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from genemamba.errors import InputError
from genemamba.metrics import nmi


def entropy(*columns):
    shares = np.unique(np.stack(columns), axis=1, return_counts=True)[1] / len(columns[0])
    return -np.sum(shares * np.log(shares))


def test_agrees_with_a_slow_implementation_and_scikit_learn(cells):
    a, b = cells.labels, cells.batch
    mutual = entropy(a) + entropy(b) - entropy(a, b)
    assert nmi(a, b) == pytest.approx(mutual / ((entropy(a) + entropy(b)) / 2))
    assert nmi(a, b) == pytest.approx(normalized_mutual_info_score(a, b))


def test_same_partition_and_none(cells):
    assert nmi(cells.labels, np.unique(cells.labels, return_inverse=True)[1]) == pytest.approx(1)
    assert nmi(cells.labels, np.full(240, "x")) == 0


def test_bad_input(cells):
    with pytest.raises(InputError, match="1 distinct value"):
        nmi(np.full(240, "T"), cells.batch)
    with pytest.raises(InputError, match=r"labels is missing \(NaN\)"):
        nmi([None, "B", "B", "T"], [1, 1, 2, 2])
