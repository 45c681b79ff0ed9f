from __future__ import annotations

import numpy as np

from genemamba.heads import held_out_folds


def test_groups_are_held_out_as_wholes_and_every_cell_once() -> None:
    groups = np.repeat(list("abcdefgh"), [50, 40, 30, 20, 10, 5, 2, 1])
    folds = list(held_out_folds(158, groups, np.random.default_rng(0)))
    assert len(folds) == 5
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(158))
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(158))


def test_without_groups_folds_are_alike_in_size_and_drawn_whatever_the_class() -> None:
    for one_group in (None, np.full(114, "only")):
        folds = list(held_out_folds(114, one_group, np.random.default_rng(0)))
        assert sorted(len(test) for _, test in folds) == [22, 23, 23, 23, 23]
        assert any(np.ptp(np.diff(test)) for _, test in folds)


def test_fewer_cells_than_folds() -> None:
    folds = list(held_out_folds(3, None, np.random.default_rng(0)))
    assert [len(test) for _, test in folds] == [1, 1, 1]
