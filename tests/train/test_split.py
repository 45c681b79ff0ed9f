from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from genemamba.heads import HeldOut, fit_head
from genemamba.train.finetune import finetune
from genemamba.train.split import hold_out, set_apart

from .finetuning import CLASSES, RECIPE, make_cells, make_model


def test_a_class_of_one_cell_is_for_training() -> None:
    labels = np.array([0] * 10 + [1] * 10 + [2])
    training, validation = hold_out(labels, None, 0.2, seed=0)
    assert 20 in training
    assert np.bincount(labels[validation]).tolist() == [2, 2]
    assert sorted([*training, *validation]) == list(range(21))


def test_cells_set_apart_are_drawn_whatever_their_class() -> None:
    labels = np.array([0] * 80 + [1] * 16 + [2] * 4 + [3])
    counts = np.zeros(4)
    for seed in range(200):
        rest, apart = set_apart(labels, None, 0.2, seed)
        assert sorted([*rest, *apart]) == list(range(101))
        assert (np.bincount(labels[rest], minlength=4) >= [2, 2, 2, 1]).all()
        counts += np.bincount(labels[apart], minlength=4)
    assert counts[:3] / 200 == pytest.approx([16, 3.2, 0.7], rel=0.15)
    assert counts[3] == 0


def test_no_class_leaves_training_with_its_donor() -> None:
    labels = np.array([0, 1] * 10 + [2] * 3)
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4] * 2 + [4] * 3)
    for seed in range(20):
        training, validation = hold_out(labels, groups, 0.2, seed)
        assert set(labels[training]) == {0, 1, 2}
        assert not set(groups[training]) & set(groups[validation])
    confounded = labels  # every group is a class: cells are drawn instead
    training, validation = hold_out(labels, confounded, 0.2, seed=0)
    assert set(labels[training]) == {0, 1, 2} == set(labels[validation])


@pytest.mark.slow
@pytest.mark.parametrize("n", [150, 600])
@pytest.mark.parametrize("signal", [False, True])
def test_cells_set_apart_say_how_good_it_is(n: int, signal: bool) -> None:
    rows = []
    for seed in range(120 if n == 150 else 40):  # 22 cells set apart say little each time
        rng = np.random.default_rng([seed, n])
        cells, labels, _ = make_cells(n + 600, seed=seed)
        order = rng.permutation(n + 600)
        cells, labels = cells.take(order), labels[order]
        wrong = rng.random(len(labels)) < (0.4 if signal else 1)
        labels = np.where(wrong, rng.integers(0, 3, len(labels)), labels)
        recipe = replace(RECIPE, epochs=2, head_epochs=5, seed=seed)
        result = finetune(
            make_model(), cells.take(np.arange(n)), labels[:n], CLASSES, recipe=recipe
        )
        held_out = HeldOut(result.apart, result.apart_logits)
        X = rng.normal(size=(n + 600, 2)).astype(np.float32)  # of no interest here
        head = fit_head(X[:n], labels[:n], CLASSES, "finetune", rng=rng, held_out=held_out)
        proba = head.proba(X[n:], logits=result.logits(cells.take(np.arange(n, n + 600))))
        truth = labels[n:]
        covered = head.sets(X[n:], proba, 0.9)[np.arange(600), truth].mean()
        accurate = (proba.argmax(1) == truth).mean()
        rows.append((covered, accurate, head.info["held_out_accuracy"]))
    covered, accurate, reported = np.mean(rows, axis=0)
    print(n, signal, covered, accurate, reported)
    assert covered == pytest.approx(0.9, abs=0.03)
    spread = np.sqrt(0.25 / (0.15 * n * len(rows)))  # of an unbiased figure from so few cells
    assert reported == pytest.approx(accurate, abs=0.01 + 2 * spread)
