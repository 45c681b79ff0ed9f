from __future__ import annotations

import numpy as np

from genemamba.heads import held_out_folds


def test_groups_are_held_out_as_wholes_and_every_cell_once() -> None:
    groups = np.repeat(list("abcdefgh"), [50, 40, 30, 20, 10, 5, 2, 1])
    folds = list(held_out_folds(np.zeros(158, int), groups, np.random.default_rng(0)))
    assert len(folds) == 5
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(158))
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(158))


def test_without_groups_every_fold_has_its_share_of_every_class() -> None:
    y = np.repeat([0, 1, 2], [100, 11, 3])
    for one_group in (None, np.full(114, "only")):
        counts = [
            np.bincount(y[test], minlength=3)
            for _, test in held_out_folds(y, one_group, np.random.default_rng(0))
        ]
        assert len(counts) == 5
        assert np.ptp(counts, axis=0).max() <= 1


def test_fewer_cells_than_folds() -> None:
    folds = list(held_out_folds(np.array([0, 1, 0]), None, np.random.default_rng(0)))
    assert [len(test) for _, test in folds] == [1, 1, 1]
