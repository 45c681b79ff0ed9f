from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine
from statsmodels.stats.multitest import multipletests

from genemamba.genes.enrichment import fdr
from genemamba.tl._shift import Direction, Profile, control_p, cosine_distance
from genemamba.tokens import Ranked


def test_cosine_distance_keeps_small_differences():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(20, 50))
    b = rng.normal(size=(20, 50))
    expected = [cosine(x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(cosine_distance(a, b), expected, rtol=1e-10)
    angle = 1e-7
    turned = cosine_distance(np.array([[1.0, 0]]), np.array([[np.cos(angle), np.sin(angle)]]))
    assert turned[0] == pytest.approx(angle**2 / 2, rel=1e-6)
    assert (cosine_distance(a, a) == 0).all()


def test_direction():
    way = Direction(source=np.array([0.0, 0]), target=np.array([4.0, 0]))
    assert way.score(np.array([[0.0, 0], [4, 0], [2, 7]])).tolist() == [-1, 1, 0]
    before = np.array([[1.0, 1], [1, 1], [1, 1], [1, 1]])
    after = np.array([[2.0, 1], [0, 1], [1, 5], [1, 1]])
    np.testing.assert_allclose(way.alignment(before, after), [1, -1, 0, 0])


def p_of_one(value: float, controls: np.ndarray, *, two_sided: bool = False) -> float:
    (p,) = control_p(np.array([value]), [controls], two_sided=two_sided)
    return p


def test_p_of_one_row_counts_controls():
    controls = np.array([1.0, 2, 3, 4])
    assert p_of_one(5, controls) == 1 / 5
    assert p_of_one(3, controls) == 3 / 5
    assert p_of_one(0, controls) == 1
    assert p_of_one(0, controls, two_sided=True) == 2 / 5
    assert p_of_one(2.5, controls, two_sided=True) == 1
    assert p_of_one(1, np.array([1.0, 1, 1])) == 1
    assert np.isnan(p_of_one(np.nan, controls))
    assert np.isnan(p_of_one(1, np.array([])))
    assert p_of_one(2, np.array([np.nan, 1])) == 1 / 2


def test_controls_of_all_rows_count_whatever_their_units():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 12))
    units = 5 * values * np.array([[1], [100], [1e-6]]) + np.array([[0], [7], [1e-3]])
    p = control_p(values[:, 0], list(values[:, 1:]))
    np.testing.assert_allclose(control_p(units[:, 0], list(units[:, 1:])), p)
    assert np.allclose(p * 34, np.rint(p * 34)) and not np.allclose(p * 12, np.rint(p * 12))
    values[1, 0] = np.nan  # says nothing, and neither do its controls
    with_nan = control_p(values[:, 0], list(values[:, 1:]))
    alone = control_p(values[[0, 2], 0], list(values[[0, 2], 1:]))
    np.testing.assert_array_equal(with_nan[[0, 2]], alone)
    assert np.isnan(with_nan[1])


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize(("rows", "n"), [(1, 199), (20, 100), (5, 39)])
@pytest.mark.parametrize("shape", ["normal", "exponential"])
def test_p_is_uniform_where_genes_are_like_their_controls(shape, rows, n, two_sided):
    rng = np.random.default_rng(0)
    p = []
    for _ in range(4000 // rows):
        unit = np.exp(rng.normal(size=(rows, 1)) * 3)
        drawn = getattr(rng, "standard_" + shape)((rows, n + 1)) * unit
        p.append(control_p(drawn[:, 0], list(drawn[:, 1:]), two_sided=two_sided))
    for level in (0.05, 0.1, 0.3, 0.5):
        assert np.mean(np.concatenate(p) <= level) == pytest.approx(level, abs=0.03)


@pytest.mark.parametrize("two_sided", [False, True])
def test_a_hundred_controls_each_reach_fdr_05_with_20_rows(two_sided):
    rng = np.random.default_rng(0)
    planted, others = [], []
    for _ in range(50):
        drawn = rng.normal(size=(20, 101))
        drawn[:3, 0] = 6.0
        found = fdr(control_p(drawn[:, 0], list(drawn[:, 1:]), two_sided=two_sided))
        planted.append(found[:3])
        others.append(found[3:])
    assert np.mean(np.array(planted) < 0.05) > 0.95
    assert np.mean(np.array(others) < 0.05) < 0.02


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.floats(1e-3, 1), st.just(np.nan)), max_size=20))
def test_fdr_as_statsmodels(p):
    p = np.array(p, dtype=float)
    there = np.isfinite(p)
    found = fdr(p)
    assert np.isnan(found[~there]).all()
    if there.any():
        expected = multipletests(p[there], method="fdr_bh")[1]
        np.testing.assert_allclose(found[there], expected)


@pytest.fixture
def ranked() -> Ranked:
    """Two hundred cells; gene t + 2 is expressed by a share of t / 50 and stands at place t."""
    rng = np.random.default_rng(0)
    cells = [[t + 2 for t in range(50) if rng.random() < t / 50] for _ in range(200)]
    tokens = np.array([t for cell in cells for t in cell], dtype=np.int32)
    indptr = np.append(0, np.cumsum([len(c) for c in cells]))
    return Ranked(tokens, indptr, np.ones(200), np.ones(200))


def test_profile(ranked):
    tokens = np.arange(2, 60, dtype=np.int32)
    profile = Profile.of(ranked, tokens)
    shares = np.array([(ranked.tokens == t).sum() for t in tokens]) / 200
    log_share, place = profile.features.T
    assert np.corrcoef(log_share, np.log(shares + 0.5 / 200))[0, 1] > 0.999
    nowhere = shares == 0
    assert (place[nowhere] == place.max()).all()


def test_controls_are_like_the_gene(ranked):
    tokens = np.arange(2, 52, dtype=np.int32)
    profile = Profile.of(ranked, tokens)
    rng = np.random.default_rng(0)
    alone = [members[0] for members in profile.like([30], 6, rng)]
    assert len(set(alone)) == 6
    assert 30 not in alone
    assert max(abs(t - 30) for t in alone) <= 8
    pairs = profile.like([30, 45], 9, rng)
    assert len({frozenset(p) for p in pairs}) == 9
    assert all(len({a, b, 30, 45}) == 4 for a, b in pairs)
    assert all(abs(a - 30) < 12 and abs(b - 45) < 12 for a, b in pairs)
    everybody = profile.like([30], 1000, rng)
    assert len(everybody) == 49


def test_a_gene_of_a_set_may_have_fewer_candidates_than_another(ranked):
    profile = Profile.of(ranked, np.arange(2, 52, dtype=np.int32))
    sets = profile.like([20, 50], 25, np.random.default_rng(0), cells=150)
    assert len(sets) == 25  # gene 50 has a dozen candidates that 150 cells express
    detected = dict(zip(profile.tokens.tolist(), profile.n_cells.tolist(), strict=True))
    assert min(detected[second] for _, second in sets) >= 150
