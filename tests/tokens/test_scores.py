"""Scores of sequences, beside independent implementations."""

from __future__ import annotations

import time

import numpy as np
import pytest
from nltk.translate.bleu_score import sentence_bleu
from rapidfuzz.distance import Levenshtein
from scipy.stats import spearmanr

from genemamba.tokens.scores import bleu, levenshtein, ranks_in, spearman


def pairs(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Unrelated sequences, and sequences a few edits apart, of few and of many symbols."""
    rng = np.random.default_rng(0)
    out = []
    for i in range(n):
        symbols = int(rng.choice([2, 20, 60_000]))
        a = rng.integers(0, symbols, rng.integers(1, 300))
        b = rng.integers(0, symbols, rng.integers(1, 300))
        if i % 2:
            b = np.delete(np.insert(a, rng.integers(len(a), size=9), 7), rng.integers(len(a)))
        out.append((a, b))
    return out


def test_levenshtein_equals_rapidfuzz() -> None:
    for a, b in pairs(400):
        assert levenshtein(a, b) == Levenshtein.distance(a.tolist(), b.tolist())


@pytest.mark.parametrize("n", [63, 64, 65, 128, 129])
def test_levenshtein_at_the_edges_of_machine_words(n: int) -> None:
    a = np.arange(n)
    assert levenshtein(a, a) == 0
    assert levenshtein(a, a[1:]) == levenshtein(a[:-1], a) == 1
    assert levenshtein(a, a + n) == n
    assert levenshtein(a, np.roll(a, 1)) == 2
    assert levenshtein(a, a[:0]) == n


@pytest.mark.filterwarnings("ignore::UserWarning:nltk")
def test_bleu_equals_nltk() -> None:
    compared = 0
    for a, b in pairs(400):
        if min(len(a), len(b)) >= 4:
            theirs = sentence_bleu([a.tolist()], b.tolist())  # 1e-78 and less where it means 0
            assert bleu(a, b) == pytest.approx(theirs, abs=1e-12)
            compared += theirs > 0.01
    assert compared > 100


def test_bleu_of_short_sequences() -> None:
    assert bleu(np.array([3, 4]), np.array([3, 4])) == 1
    assert bleu(np.array([3, 4]), np.array([3])) == pytest.approx(np.exp(-1))
    assert bleu(np.array([3, 4]), np.array([], int)) == 0


def test_spearman_equals_scipy() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 50, 500):
        a, b = rng.integers(0, n, n), rng.normal(size=n)
        if np.ptp(a):
            assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert np.isnan(spearman(np.ones(5), np.arange(5)))
    assert np.isnan(spearman(np.ones(1), np.ones(1)))


def test_ranks_in_another_sequence() -> None:
    ranks = ranks_in(np.array([5, 6, 7, 8]), np.array([7, 5, 5]))
    np.testing.assert_array_equal(ranks, [2, np.nan, 1, np.nan])
    assert np.isnan(ranks_in(np.array([5]), np.array([], int))).all()


def test_a_cell_of_2048_tokens_is_scored_in_20_ms() -> None:
    rng = np.random.default_rng(0)
    a = rng.permutation(16_000)[:2048]
    b = rng.permutation(a)
    seconds = []
    for _ in range(6):
        begun = time.perf_counter()
        levenshtein(a, b), bleu(a, b), spearman(np.arange(len(a)), ranks_in(a, b))
        seconds.append(time.perf_counter() - begun)
    assert np.median(seconds) < 0.02
