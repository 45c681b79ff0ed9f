from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from genemamba.heads.components import Components
from genemamba.maps.arrays import map_arrays, write_arrays
from genemamba.maps.space import Space, _axes

N, D, P, CLASSES = 300, 12, 9, 4
CODES = np.arange(N) % (CLASSES + 1) - 1  # a fifth has no class


@pytest.fixture
def cells() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    kind = rng.normal(size=(CLASSES + 1, D + P)) * 2
    both = rng.normal(size=(N, D + P)) + kind[CODES]
    return both[:, :D].astype(np.float32), both[:, D:].astype(np.float32)


@pytest.fixture
def space(cells: tuple[np.ndarray, np.ndarray]) -> Space:
    return Space.fit(*cells, CODES, None)


def test_a_cell_alone_has_the_same_bytes_as_among_others(
    space: Space, cells: tuple[np.ndarray, np.ndarray]
) -> None:
    embedding, expressed = cells
    together = space.place(embedding, expressed)
    assert together.shape == (N, space.n_axes) and together.dtype == np.float32
    for own in (slice(0, 1), slice(7, 20), slice(299, 300)):
        assert space.place(embedding[own], expressed[own]).tobytes() == together[own].tobytes()
    embedding = embedding.copy()
    embedding[5] = np.nan
    without = space.place(embedding, expressed)
    assert np.isnan(without[5]).all()
    assert np.delete(without, 5, axis=0).tobytes() == np.delete(together, 5, axis=0).tobytes()


def test_discriminants_are_those_of_scikit_learn(cells: tuple[np.ndarray, np.ndarray]) -> None:
    X = np.hstack(cells).astype(np.float64)
    X -= X.mean(axis=0)
    own = np.bincount(CODES[CODES >= 0])
    weight = own / own.sum()
    seen = CODES >= 0
    oracle = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / CLASSES] * CLASSES)
    means = np.stack([X[c == CODES].mean(axis=0) for c in range(CLASSES)])
    inside = X[seen] - means[CODES[seen]]
    scatter = inside.T @ inside / len(inside)
    oracle.fit(X[seen], CODES[seen])
    np.testing.assert_allclose(oracle.covariance_, scatter, rtol=0.05, atol=0.02)  # equal classes
    assert np.ptp(weight) < 0.01
    shrunken = 0.7 * scatter + 0.3 * np.trace(scatter) / len(scatter) * np.eye(D + P)
    found = _axes(X, CODES)[:, : CLASSES - 1]
    np.testing.assert_allclose(found.T @ shrunken @ found, np.eye(CLASSES - 1), atol=1e-8)
    between = means @ found
    for a in range(CLASSES):  # all that tells the classes apart is kept
        for b in range(a):
            gap = means[a] - means[b]
            expected = gap @ np.linalg.solve(shrunken, gap)
            assert ((between[a] - between[b]) ** 2).sum() == pytest.approx(expected)


def test_with_a_fixed_shrinkage_the_classes_are_told_apart_as_by_scikit_learn(
    cells: tuple[np.ndarray, np.ndarray],
) -> None:
    X, seen = np.hstack(cells).astype(np.float64), CODES >= 0
    X -= X.mean(axis=0)
    oracle = LinearDiscriminantAnalysis(
        solver="eigen", shrinkage=0.3, priors=[1 / CLASSES] * CLASSES
    ).fit(X[seen], CODES[seen])
    found, theirs = _axes(X, CODES)[:, : CLASSES - 1], oracle.scalings_[:, : CLASSES - 1]
    angles = np.linalg.svd(np.linalg.qr(found)[0].T @ np.linalg.qr(theirs)[0])[1]
    # scikit-learn shrinks each class towards its own level, which is nearly the common one
    assert angles.min() > 0.99


def test_the_rest_is_inside_classes_and_twice_as_wide(space: Space) -> None:
    assert space.n_axes == CLASSES - 1 + D + P  # fewer than thirty axes are there


@pytest.mark.parametrize("codes", [np.full(N, -1), np.zeros(N, int), np.arange(N),
                                   np.where(np.arange(N) < 5, np.arange(N) % 3, -1)])  # fmt: skip
def test_labels_that_tell_too_little(
    codes: np.ndarray, cells: tuple[np.ndarray, np.ndarray]
) -> None:
    space = Space.fit(*cells, codes, None)
    X = space.place(*cells)
    assert np.isfinite(X).all()
    assert space.n_axes == D + P
    assert np.linalg.matrix_rank(X) == D + P  # no cell is lost on another


def test_a_shifted_batch_comes_back_and_the_map_stays(space: Space, cells: tuple) -> None:
    X = space.place(*cells)
    rng = np.random.default_rng(1)
    shift = rng.normal(size=X.shape[1])
    shift *= 0.5 * np.sqrt(space.width[0] / 0.3) / np.linalg.norm(shift)
    own = CODES >= 0
    moved = (X[own] + shift).astype(np.float32)
    back = space.corrected(moved, np.zeros(len(moved)))
    assert back.dtype == np.float32
    left = [np.linalg.norm((back - X[own])[CODES[own] == c].mean(axis=0)) for c in range(CLASSES)]
    assert max(left) < 0.5 * np.linalg.norm(shift)
    still = space.corrected(X[own], np.zeros(own.sum()))
    assert np.linalg.norm((still - X[own]).mean(axis=0)) < 0.2 * np.linalg.norm(shift)


def test_correction_is_that_of_a_plain_loop(space: Space, cells: tuple) -> None:
    X = space.place(*cells)[:40].astype(np.float64) + 1
    batch = np.arange(40) % 3
    moved = X.copy()
    for _ in range(3):
        share = np.empty((40, CLASSES))
        for i in range(40):
            far = np.array([((moved[i] - mean) ** 2).sum() for mean in space.means])
            share[i] = np.exp(-far / (2 * space.width[0]) + far.min() / (2 * space.width[0]))
            share[i] /= share[i].sum()
        moved = X.copy()
        for b in range(3):
            for c in range(CLASSES):
                n = share[batch == b, c].sum()
                mean = sum(share[i, c] * X[i] for i in range(40) if batch[i] == b) / max(n, 1e-12)
                for i in np.flatnonzero(batch == b):
                    moved[i] -= share[i, c] * (mean - space.means[c]) * n / (n + 20)
    found = space.corrected(X.astype(np.float32), batch)
    np.testing.assert_allclose(found, moved, rtol=1e-4, atol=1e-4)


def test_batches_are_corrected_on_their_own(space: Space, cells: tuple) -> None:
    X = space.place(*cells)
    batch = np.arange(N) % 2
    together = space.corrected(X, batch)
    alone = space.corrected(X[batch == 1], batch[batch == 1])
    np.testing.assert_allclose(together[batch == 1], alone, atol=1e-5)


def test_a_plain_space_leaves_embeddings_as_they_are(cells: tuple) -> None:
    space = Space.plain(cells[0], CODES)
    assert space.n_axes == D
    assert space.place(cells[0], None).tobytes() == cells[0].tobytes()
    expected = [cells[0][c == CODES].mean(axis=0, dtype=np.float64) for c in range(CLASSES)]
    np.testing.assert_allclose(space.means, expected, rtol=1e-6)


def test_what_is_written_and_read_is_the_same_space(cells: tuple, tmp_path: Path) -> None:
    logged = sparse.random_array((N, 30), density=0.3, rng=np.random.default_rng(3), format="csr")
    logged = sparse.csr_matrix(logged)
    components = Components.fit(logged, np.arange(30), np.arange(30)).first(P)
    expressed = components.of(logged, np.ones(30, dtype=bool))
    for space in (
        Space.fit(cells[0], expressed, CODES, components),
        Space.fit(cells[0], None, CODES, None),
        Space.plain(cells[0], np.full(N, -1)),
    ):
        write_arrays(space.arrays(), tmp_path / "space.safetensors")
        again = Space.read(map_arrays(tmp_path / "space.safetensors"))
        with_ = None if space.components is None else expressed
        assert again.place(cells[0], with_).tobytes() == space.place(cells[0], with_).tobytes()
        np.testing.assert_array_equal(again.means, space.means)
        assert again.width == space.width
        assert (again.components is None) == (space.components is None)
        if again.components is not None:
            ours = again.components.of(logged, np.ones(30, dtype=bool))
            assert ours.tobytes() == expressed.tobytes()
