from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from genemamba.errors import InputError
from genemamba.metrics import balanced_accuracy


def test_agrees_with_a_slow_implementation_and_scikit_learn(cells):
    guess = np.random.default_rng(0).permutation(cells.labels)
    guess[:150] = cells.labels[:150]
    slow = np.mean([np.mean(guess[cells.labels == c] == c) for c in set(cells.labels)])
    assert balanced_accuracy(cells.labels, guess) == pytest.approx(slow)
    assert slow == pytest.approx(balanced_accuracy_score(cells.labels, guess))


def test_an_invented_class_is_wrong_and_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert balanced_accuracy(["B", "B", "T"], ["B", "unknown", "T"]) == 0.75


def test_bad_input():
    with pytest.raises(InputError, match="labels is missing"):
        balanced_accuracy(["B", None], ["B", "T"])
