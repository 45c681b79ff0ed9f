from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from genemamba.heads.calibration import (
    fit_temperature,
    prediction_sets,
    probabilities,
    set_threshold,
)


def drawn(n: int = 4000, factor: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `factor` times those the classes were drawn from."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(n, 4))
    y = np.array([rng.choice(4, p=p) for p in softmax(logits, axis=1)])
    return (factor * logits).astype(np.float32), y


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_temperature_finds_the_scale(factor: float) -> None:
    logits, y = drawn(factor=factor)
    found = fit_temperature(logits, y)
    assert found == pytest.approx(factor, rel=0.08)
    grid = np.geomspace(0.05, 20, 400)
    losses = [-log_softmax(logits / t, axis=1)[np.arange(len(y)), y].mean() for t in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], rel=0.02)


def test_a_class_never_seen_has_no_probability() -> None:
    logits = np.array([[1.0, -np.inf, 0.0]], dtype=np.float32)
    proba = probabilities(logits, 2.0)
    assert proba[0, 1] == 0
    assert proba.sum() == pytest.approx(1)
    assert np.isfinite(fit_temperature(np.repeat(logits, 3, 0), np.array([0, 2, 0])))


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.99])
def test_sets_cover_what_they_promise(coverage: float) -> None:
    logits, y = drawn()
    proba = probabilities(logits, 1.7)  # sets do not need calibrated probabilities
    threshold = set_threshold(proba[np.arange(2000), y[:2000]], coverage)
    sets = prediction_sets(proba[2000:], threshold)
    assert sets[np.arange(2000), y[2000:]].mean() == pytest.approx(coverage, abs=0.025) or (
        sets[np.arange(2000), y[2000:]].mean() > coverage  # the top class is always in
    )
    assert sets.any(axis=1).all()


def test_threshold_is_the_conformal_quantile() -> None:
    assert set_threshold(np.arange(1, 100) / 100, 0.9) == pytest.approx(0.10)
    assert set_threshold(np.array([0.5, 0.6]), 0.9) == 0.0  # too few to promise anything


def test_cells_without_probabilities_have_empty_sets() -> None:
    proba = np.array([[np.nan, np.nan], [0.9, 0.1]], dtype=np.float32)
    assert prediction_sets(proba, 0.5).tolist() == [[False, False], [True, False]]
