from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from genemamba.heads import Probe


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_it_is_scikit_learns_regression(n_classes: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, 300)
    X = rng.normal(size=(300, 6)).astype(np.float32) + y[:, None]
    probe = Probe.fit(X, y, n_classes, strength=0.1)
    scaled = (X - X.mean(0)) / X.std(0)
    oracle = LogisticRegression(C=0.1, max_iter=5000, tol=1e-10).fit(scaled, y)
    exp = np.exp(probe.logits(X) - probe.logits(X).max(1, keepdims=True))
    np.testing.assert_allclose(
        exp / exp.sum(1, keepdims=True), oracle.predict_proba(scaled), atol=1e-4
    )


def test_a_class_without_cells_is_never_chosen() -> None:
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    probe = Probe.fit(X, np.repeat([0, 2], 20), 3, strength=0.1)
    assert np.isneginf(probe.logits(X)[:, 1]).all()
    assert np.isfinite(probe.logits(X)[:, [0, 2]]).all()


def test_a_constant_feature_does_no_harm() -> None:
    X = np.ones((20, 2), dtype=np.float32)
    X[:10, 1] = 0
    assert np.isfinite(Probe.fit(X, np.repeat([0, 1], 10), 2, strength=0.1).logits(X)).all()
