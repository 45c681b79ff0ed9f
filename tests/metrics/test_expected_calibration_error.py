from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from genemamba.errors import InputError
from genemamba.metrics import expected_calibration_error


def slow_ece(confidence, correct, n_bins):
    error = 0.0
    for b in range(1, n_bins + 1):
        inside = [
            i
            for i, p in enumerate(confidence)
            if (b - 1) / n_bins < p <= b / n_bins or (b == 1 and p == 0)
        ]
        if inside:
            gap = np.mean([correct[i] for i in inside]) - np.mean([confidence[i] for i in inside])
            error += len(inside) / len(confidence) * abs(gap)
    return error


@pytest.mark.parametrize("n_bins", [1, 2, 7, 15])
def test_agrees_with_a_slow_implementation(n_bins):
    rng = np.random.default_rng(0)
    confidence = np.concatenate([rng.random(500), [0, 1, 0.5, 0.5]])
    correct = rng.random(504) < confidence**2
    expected = slow_ece(confidence, correct, n_bins)
    assert expected_calibration_error(confidence, correct, n_bins=n_bins) == pytest.approx(expected)


def test_agrees_for_a_classifier(cells):
    model = LogisticRegression(max_iter=500).fit(cells.X[:120], cells.labels[:120])
    p = model.predict_proba(cells.X[120:].astype(float))
    right = model.classes_[p.argmax(axis=1)] == cells.labels[120:]
    expected = slow_ece(p.max(axis=1), right, 15)
    assert expected_calibration_error(p.max(axis=1), right) == pytest.approx(expected)


def test_perfect_confidence_scores_zero_and_false_certainty_one():
    assert expected_calibration_error([1, 1, 0, 0], [1, 1, 0, 0]) == 0
    assert expected_calibration_error([1, 1], [False, False]) == 1


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([0.5, np.nan], [0, 1], "NaN or not within 0 and 1 for 1 of 2"),
        ([0.5, 1.2], [0, 1], r"e\.g\. 1\.2"),
        ([0.5], [0, 1], "one value a cell"),
        ([], [], "one value a cell"),
        ([0.5, 0.5], [0, 2], "true and false"),
    ],
)
def test_bad_input(confidence, correct, message):
    with pytest.raises(InputError, match=message):
        expected_calibration_error(confidence, correct)


def test_no_bins():
    with pytest.raises(InputError, match="n_bins=0"):
        expected_calibration_error([0.5], [1], n_bins=0)
