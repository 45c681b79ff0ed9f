from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from genemamba.errors import InputError
from genemamba.metrics import macro_f1


def spoiled(labels):
    """Predictions that are right two times in three."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(len(labels)) < 0.67, labels, rng.permutation(labels)).astype(object)


def slow_f1(truth, guess):
    scores = []
    for c in set(truth):
        tp = sum(t == c and g == c for t, g in zip(truth, guess, strict=True))
        wrong = sum((t == c) != (g == c) for t, g in zip(truth, guess, strict=True))
        scores.append(2 * tp / (2 * tp + wrong))
    return np.mean(scores)


def test_agrees_with_a_slow_implementation_and_scikit_learn(cells):
    guess = spoiled(cells.labels)
    assert macro_f1(cells.labels, guess) == pytest.approx(slow_f1(cells.labels, guess))
    expected = f1_score(cells.labels, guess.astype(str), average="macro")
    assert macro_f1(cells.labels, guess) == pytest.approx(expected)


def test_an_invented_class_makes_cells_wrong_and_adds_no_class(cells):
    guess = spoiled(cells.labels)
    guess[:40] = "unknown"
    assert macro_f1(cells.labels, guess) == pytest.approx(slow_f1(cells.labels, guess))
    assert macro_f1(["B", "T"], ["B", "unknown"]) == 0.5


def test_codes_are_classes_too():
    assert macro_f1([0, 1, 1], np.array([0, 1, 1])) == 1


@pytest.mark.parametrize(
    ("truth", "guess", "message"),
    [
        (["B", "T"], ["B"], "predicted has 1 values for 2 cells"),
        (["B", None], ["B", "T"], "labels is missing"),
        (["B", "T"], ["B", None], "predicted is missing"),
        (["0", "1"], [0, 1], "holds numbers, the other names"),
        ([0.5, 1], [0, 1], "fractions"),
        ("B", "B", "shape"),
    ],
)
def test_bad_input(truth, guess, message):
    with pytest.raises(InputError, match=message):
        macro_f1(truth, guess)
