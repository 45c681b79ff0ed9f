from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score

from genemamba.metrics import asw_label


def slow_silhouettes(X, groups):
    distances = cdist(X.astype(float), X.astype(float))
    widths = []
    for i, own in enumerate(groups):
        mates = groups == own
        if mates.sum() == 1:
            widths.append(0.0)
            continue
        a = distances[i, mates].sum() / (mates.sum() - 1)
        b = min(distances[i, groups == g].mean() for g in set(groups) - {own})
        widths.append((b - a) / max(a, b))
    return np.array(widths)


def test_agrees_with_a_slow_implementation_and_scikit_learn(cells):
    expected = (slow_silhouettes(cells.X, cells.labels).mean() + 1) / 2
    assert asw_label(cells.X, cells.labels) == pytest.approx(expected, abs=1e-5)
    assert expected == pytest.approx((silhouette_score(cells.X, cells.labels) + 1) / 2, abs=1e-5)


def test_many_blocks_are_one_block(cells, monkeypatch):
    whole = asw_label(cells.X, cells.labels)
    monkeypatch.setattr("genemamba.metrics._silhouette.WORKING_MEMORY_MB", 0.01)
    assert asw_label(cells.X, cells.labels) == pytest.approx(whole, abs=1e-6)


def test_a_far_away_origin_changes_nothing(separated):
    moved = asw_label(separated.X + np.float32(100), separated.labels)
    assert moved == pytest.approx(asw_label(separated.X, separated.labels), abs=1e-4)


def test_perfect_types_score_one_and_noise_one_half(perfect):
    assert asw_label(perfect.X, perfect.labels) > 0.99
    assert asw_label(np.random.default_rng(0).normal(size=(240, 12)), perfect.labels) < 0.51


def test_a_type_of_one_cell_counts_as_zero_width():
    X = np.array([[0.0], [0.1], [5.0]])
    assert asw_label(X, ["a", "a", "b"]) == pytest.approx(
        (slow_silhouettes(X, np.array(["a", "a", "b"])).mean() + 1) / 2
    )
