from __future__ import annotations

import numpy as np
import pytest

from genemamba.heads import HeldOut, fit_head


def blobs(
    n: int = 600, n_classes: int = 3, shift: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    centre = np.random.default_rng(99).normal(scale=3, size=(n_classes, 10))
    return (centre[y] + rng.normal(size=(n, 10)) + shift).astype(np.float32), y


NAMES = ("a", "b", "c")


@pytest.mark.parametrize("kind", ["knn", "probe"])
def test_names_cells_knows_its_doubts_and_its_limits(kind: str) -> None:
    head = fit_head(*blobs(), NAMES, kind, rng=np.random.default_rng(0))
    X, y = blobs(seed=1)
    proba = head.proba(X)
    accuracy = (proba.argmax(1) == y).mean()
    assert accuracy > 0.95
    assert proba.max(1).mean() == pytest.approx(accuracy, abs=0.03)
    assert 0.01 < (head.distance(X) > head.farthest).mean() < 0.1
    assert (head.distance(X + 10) > head.farthest).all()
    sets = head.sets(X, proba, 0.9)
    assert sets[np.arange(len(y)), y].mean() > 0.88


def test_donors_that_differ_widen_what_is_known() -> None:
    parts = [blobs(200, shift=s, seed=i) for i, s in enumerate((0.0, 1.0, -1.0))]
    X, y = (np.concatenate(part) for part in zip(*parts, strict=True))
    groups = np.repeat(["0", "1", "2"], 200)
    rng = np.random.default_rng
    inside = fit_head(X, y, NAMES, "probe", rng=rng(0))
    across = fit_head(X, y, NAMES, "probe", groups=groups, rng=rng(0))
    assert across.farthest > inside.farthest


def test_rows_of_nan_stay_nan() -> None:
    head = fit_head(*blobs(), NAMES, "probe", rng=np.random.default_rng(0))
    X = blobs(seed=1)[0][:4].copy()
    X[1] = np.nan
    assert np.isnan(head.proba(X)[1]).all()
    assert np.isnan(head.distance(X)[1])
    assert np.isfinite(head.proba(X)[[0, 2, 3]]).all()
    assert np.isnan(head.proba(np.full((2, 10), np.nan, np.float32))).all()


def test_a_class_in_one_donor_only_is_not_held_against_the_calibration() -> None:
    X, y = blobs()
    groups = np.where(y == 2, "x", np.arange(len(y)) % 3)
    head = fit_head(X, y, NAMES, "probe", groups=groups.astype(str), rng=np.random.default_rng(0))
    assert head.info["held_out_cells"] == (y != 2).sum()
    assert head.info["held_out_accuracy"] > 0.95


def test_logits_of_another_classifier() -> None:
    X, y = blobs()
    cells = np.arange(0, 600, 2)
    logits = np.eye(3, dtype=np.float32)[y[cells]] * 5
    head = fit_head(
        X, y, NAMES, "finetune", rng=np.random.default_rng(0), held_out=HeldOut(cells, logits)
    )
    assert head.info["held_out_accuracy"] == 1
    proba = head.proba(X[:2], logits=np.array([[5, 0, 0], [0, 5, 0]], np.float32))
    assert proba.argmax(1).tolist() == [0, 1]


def test_the_same_call_gives_the_same_head() -> None:
    a, b = (fit_head(*blobs(), NAMES, "probe", rng=np.random.default_rng(3)) for _ in "ab")
    assert a.temperature == b.temperature
    np.testing.assert_array_equal(a.proba(blobs(seed=1)[0]), b.proba(blobs(seed=1)[0]))
