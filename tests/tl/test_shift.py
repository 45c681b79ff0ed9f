from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine
from statsmodels.stats.multitest import multipletests

from genemamba.tl._shift import Direction, Profile, control_p, cosine_distance, fdr
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


def test_p_counts_controls():
    controls = np.array([1.0, 2, 3, 4])
    assert control_p(5, controls) == 1 / 5
    assert control_p(3, controls) == 3 / 5
    assert control_p(0, controls) == 1
    assert control_p(0, controls, two_sided=True) == 2 / 5
    assert control_p(2.5, controls, two_sided=True) == 1
    assert np.isnan(control_p(np.nan, controls))
    assert np.isnan(control_p(1, np.array([])))


def test_p_of_one_more_control_is_uniform():
    rng = np.random.default_rng(0)
    for two_sided in (False, True):
        p = [control_p(*split(rng.normal(size=20)), two_sided=two_sided) for _ in range(4000)]
        for level in (0.1, 0.3, 0.5):
            assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=0.03)


def split(values: np.ndarray) -> tuple[float, np.ndarray]:
    return float(values[0]), values[1:]


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
