from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from genemamba.heads.calibration import (
    fit_temperature,
    prediction_sets,
    probabilities,
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


@pytest.mark.parametrize("n", [1, 5, 50])
def test_a_few_cells_that_are_all_right_prove_little(n: int) -> None:
    logits = np.tile(np.array([[30.0, 0, 0]], dtype=np.float32), (n, 1))
    sure = probabilities(logits[:1], fit_temperature(logits, np.zeros(n, int))).max()
    assert 1 - 1 / (n + 1) < sure < 1 - 0.5 / (n + 2)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.99])
def test_sets_cover_what_they_promise(coverage: float) -> None:
    logits, y = drawn(12_000)
    proba = probabilities(logits, 1.7)  # sets do not need calibrated probabilities
    sets = prediction_sets([proba[6000:]], [proba[np.arange(6000), y[:6000]]], coverage)
    assert sets[np.arange(6000), y[6000:]].mean() == pytest.approx(coverage, abs=0.025)


def test_one_classifier_gives_the_conformal_quantile() -> None:
    scores, proba = np.arange(1, 100) / 100, np.array([[0.095, 0.1, 0.805]])
    assert prediction_sets([proba], [scores], 0.9).tolist() == [[False, True, True]]
    few = prediction_sets([proba], [np.array([0.5, 0.6])], 0.9)
    assert few.all()  # too few to promise anything


def test_each_fold_is_compared_by_the_classifier_that_had_not_seen_it() -> None:
    rng = np.random.default_rng(0)
    scores = [rng.random(n) for n in (7, 5, 0, 11)]
    probas = [rng.dirichlet(np.ones(3), 6) for _ in scores]
    sets = prediction_sets(probas, scores, 0.75)
    for cell in range(6):
        for name in range(3):
            less = sum(
                score <= proba[cell, name]
                for own, proba in zip(scores, probas, strict=True)
                for score in own
            )
            assert sets[cell, name] == ((1 + less) / 24 > 0.25)
