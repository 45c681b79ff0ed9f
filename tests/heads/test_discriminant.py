from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from genemamba.heads import Probe
from genemamba.heads.discriminant import SHRINKAGES, fit_discriminants

N, D, FIRST, CLASSES = 240, 11, 6, 3


@pytest.fixture
def cells() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(N) % CLASSES
    X = rng.normal(size=(N, D)) @ rng.normal(size=(D, D)) + rng.normal(size=(CLASSES, D))[y] + 3
    X[:, FIRST:] *= 50
    return X.astype(np.float32), y


def scaled(X: np.ndarray) -> np.ndarray:
    """Centre, and give each view a total variance of 1."""
    Z = X - X.mean(axis=0, dtype=np.float64)
    for view in (slice(0, FIRST), slice(FIRST, None)):
        Z[:, view] /= np.sqrt(Z[:, view].var(axis=0).sum())
    return Z


@pytest.mark.parametrize("solver", ["lsqr", "eigen"])
def test_without_shrinkage_it_is_that_of_scikit_learn(
    solver: str, cells: tuple[np.ndarray, np.ndarray]
) -> None:
    X, y = cells
    ((probe,),) = fit_discriminants(X, y, CLASSES, [np.arange(N)], [[0.0]], first=FIRST)
    theirs = LinearDiscriminantAnalysis(solver=solver, priors=[1 / CLASSES] * CLASSES)
    theirs.fit(scaled(X), y)
    found, expected = Probe.logits(probe, X), theirs.decision_function(scaled(X))
    np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], atol=2e-3)


@pytest.mark.parametrize("share", SHRINKAGES)
def test_a_shrunken_covariance_is_given_to_scikit_learn(
    share: float, cells: tuple[np.ndarray, np.ndarray]
) -> None:
    """Its own shrinkage works on standardised features; so it gets our covariance."""
    X, y = cells
    Z = scaled(X)

    class Shrunken:
        def fit(self, own: np.ndarray) -> Shrunken:
            self.covariance_ = own.T @ own / len(own)
            return self

    means = np.stack([Z[y == c].mean(axis=0) for c in range(CLASSES)])
    inside = Z - means[y]
    scatter = inside.T @ inside / N
    level = np.trace(scatter) / D
    theirs = LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=Shrunken(), priors=[1 / CLASSES] * CLASSES
    )
    theirs.fit(Z, y)
    theirs.covariance_ = (1 - share) * scatter + share * level * np.eye(D)
    coef = np.linalg.solve(theirs.covariance_, theirs.means_.T).T
    expected = Z @ coef.T - 0.5 * np.einsum("cd,cd->c", theirs.means_, coef)
    ((probe,),) = fit_discriminants(X, y, CLASSES, [np.arange(N)], [[share]], first=FIRST)
    found = Probe.logits(probe, X)
    np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], atol=2e-3)


def test_probability_falls_as_a_power_of_the_log_odds(
    cells: tuple[np.ndarray, np.ndarray],
) -> None:
    X, y = cells
    ((probe,),) = fit_discriminants(X, y, CLASSES, [np.arange(N)], [[0.5]], first=FIRST)
    linear, found = Probe.logits(probe, X), probe.logits(X)
    np.testing.assert_array_equal(found.argmax(axis=1), linear.argmax(axis=1))
    behind = linear.max(axis=1, keepdims=True) - linear
    np.testing.assert_allclose(np.exp(found), 1 / (1 + behind / 3), rtol=1e-5)


def test_each_fold_is_fitted_to_its_own_cells(cells: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = cells
    folds = [np.arange(100), np.arange(60, N)]
    both = fit_discriminants(X, y, CLASSES, folds, [[0.2, 0.5], [0.8]], first=FIRST)
    assert [len(probes) for probes in both] == [2, 1]
    ((alone,),) = fit_discriminants(X[60:], y[60:], CLASSES, [np.arange(N - 60)], [[0.8]],
                                    first=FIRST)  # fmt: skip
    np.testing.assert_array_equal(both[1][0].logits(X), alone.logits(X))


def test_a_class_without_cells_is_never_chosen(cells: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = cells
    own = np.flatnonzero(y != 1)
    ((probe,),) = fit_discriminants(X, y, CLASSES, [own], [[0.2]], first=FIRST)
    assert (probe.logits(X)[:, 1] == -np.inf).all()
    assert np.isfinite(probe.logits(X)[:, [0, 2]]).all()


def test_cells_that_are_all_alike(cells: tuple[np.ndarray, np.ndarray]) -> None:
    y = cells[1][:6]
    ((probe,),) = fit_discriminants(np.ones((6, D), np.float32), y, CLASSES, [np.arange(6)],
                                    [[0.2]], first=FIRST)  # fmt: skip
    assert np.isfinite(probe.logits(np.ones((2, D), np.float32))).all()
