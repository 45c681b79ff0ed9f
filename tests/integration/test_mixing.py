from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from genemamba.integration import mixing
from genemamba.integration.halves import whole_counts


@pytest.fixture
def shifted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three types in two batches that differ by a shift; the third type in the first batch only."""
    rng = np.random.default_rng(0)
    types = rng.integers(3, size=600)
    batch = np.where(types == 2, 0, rng.integers(2, size=600))
    means = rng.normal(0, 4, (3, 10))
    shift = rng.normal(0, 2, 10)
    return means[types] + batch[:, None] * shift + rng.normal(size=(600, 10)), batch, types


def nearest(X: np.ndarray) -> np.ndarray:
    distance = ((X[:, None] - X[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    return distance.argsort(1)[:, :10]


def test_mixing_finds_the_same_type_in_the_other_batch(shifted: tuple) -> None:
    X, batch, types = shifted
    shared = types < 2
    share = [(batch[nearest(Z)] != batch[:, None])[shared].mean()
             for Z in (X, mixing.mix(X, batch, np.random.default_rng(0)))]  # fmt: skip
    assert share[0] < 0.1
    assert share[1] > 0.35
    mixed = nearest(mixing.mix(X, batch, np.random.default_rng(0)))
    assert (types[mixed] == types[:, None]).mean() > 0.95


def test_nothing_to_mix_changes_little(shifted: tuple) -> None:
    X, _, types = shifted
    batch = np.random.default_rng(1).integers(2, size=len(X))
    mixed = mixing.mix(X, batch, np.random.default_rng(0))
    assert np.linalg.norm(mixed - (X - X.mean(0))) < 0.2 * np.linalg.norm(X - X.mean(0))
    assert (types[nearest(mixed)] == types[:, None]).mean() > 0.95


def test_shifts_equal_ridge_regression(shifted: tuple) -> None:
    """The closed form against the normal equations, cluster by cluster."""
    X, batch, _ = shifted
    share = np.random.default_rng(2).dirichlet(np.ones(4), len(X))
    expected = np.zeros_like(X)
    design = np.column_stack([np.ones(len(X)), np.eye(2)[batch]])
    for k in range(4):
        w = share[:, [k]]
        normal = design.T @ (w * design) + np.diag([0.0, 1.0, 1.0])
        offset = np.linalg.solve(normal, design.T @ (w * X))[1:]
        expected += w * offset[batch]
    np.testing.assert_allclose(mixing._shifts(X, share, batch), expected, atol=1e-9)


def test_agreement_keeps_what_halves_share() -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(2000, 3)) * [4, 2, 0]
    turn = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    halves = [np.hstack([signal, np.zeros((2000, 9))]) @ turn + rng.normal(size=(2000, 12))
              for _ in range(2)]  # fmt: skip
    kept = mixing.agreement(*halves, np.zeros(2000, int))
    assert kept.shape == (12, 2)
    noise = (halves[0] - halves[1]) @ kept
    np.testing.assert_allclose(noise.var(axis=0) / 2, 1, atol=0.1)
    reached = np.abs(np.corrcoef((halves[0] @ kept).T, signal[:, :2].T)[:2, 2:])
    assert (reached.max(axis=1) > 0.85).all()


def test_a_batch_mean_is_no_agreement() -> None:
    rng = np.random.default_rng(0)
    batch = np.repeat([0, 1], 500)
    halves = [rng.normal(size=(1000, 5)) + 9.0 * batch[:, None] for _ in range(2)]
    assert mixing.agreement(*halves, batch).shape[1] == 2  # the least that is kept


def test_depth_is_removed_within_batches() -> None:
    rng = np.random.default_rng(0)
    total = rng.lognormal(8, 1, 300)
    batch = rng.integers(3, size=300)
    X = rng.normal(size=(300, 4)) + np.log(total)[:, None] * [1, 0, -2, 0] + 5.0 * batch[:, None]
    out = mixing.without_depth(X, total, batch)
    depth = np.log(total)
    for b in range(3):
        cells = batch == b
        assert np.abs(np.cov(out[cells].T, depth[cells])[-1, :-1]).max() < 1e-9
        np.testing.assert_allclose(out[cells].mean(0), X[cells].mean(0))


def test_loadings_are_the_axes_of_a_dense_pca() -> None:
    rng = np.random.default_rng(0)
    X = sparse.random(400, 60, 0.3, "csr", rng=rng, dtype=np.float32)
    batch = rng.integers(2, size=400)
    axes = mixing.loadings(X, batch)
    _, _, expected = np.linalg.svd(mixing.centred(X.toarray(), batch), full_matrices=False)
    np.testing.assert_allclose(np.abs(np.sum(axes[:, :5] * expected[:5].T, axis=0)), 1, atol=1e-4)


def test_the_model_gets_its_share() -> None:
    rng = np.random.default_rng(0)
    batch = np.zeros(500, int)
    joined = mixing.combined(rng.normal(size=(500, 3)), 100 * rng.normal(size=(500, 7)), batch)
    spread = [np.sqrt(part.var(0).sum()) for part in (joined[:, :7], joined[:, 7:])]
    assert spread[0] == pytest.approx(mixing.MODEL_WEIGHT * spread[1])


def test_supervision_does_not_look_at_what_is_missing(shifted: tuple) -> None:
    X, _, types = shifted
    hidden = np.arange(len(X)) % 2 == 0
    labels = np.where(hidden, -1, types)
    tuned = mixing.supervised(X, labels)
    assert tuned.shape == (len(X), 2)
    assert (types[nearest(tuned)] == types[:, None])[hidden].mean() > 0.95


def test_counts_come_back_from_normalised_values() -> None:
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(0.5, (50, 200)))
    counts = counts[np.asarray((counts.toarray() == 1).any(1))]
    size = rng.uniform(0.5, 3, counts.shape[0])
    scaled = sparse.csr_matrix(sparse.diags(size) @ counts)
    assert (whole_counts(scaled, "normalised") != counts).nnz == 0
    assert (whole_counts(sparse.csr_matrix(counts, dtype=float), "counts") != counts).nnz == 0
