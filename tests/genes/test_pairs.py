from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cosine, jensenshannon
from sklearn.metrics import roc_auc_score

from genemamba.genes.pairs import (
    Ranking,
    auroc_interval,
    degree_product,
    distances,
    hub_scores,
    rewired,
    similarities,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_similarities_are_those_of_scipy(rng) -> None:
    x = rng.normal(2, 1, (50, 7)).astype(np.float32)
    pairs = rng.integers(50, size=(200, 2))
    expected = [1 - cosine(x[a].astype(float), x[b].astype(float)) for a, b in pairs]
    np.testing.assert_allclose(similarities(x, pairs, "cosine"), expected, atol=1e-9)
    expected = [stats.pearsonr(x[a].astype(float), x[b].astype(float))[0] for a, b in pairs]
    np.testing.assert_allclose(similarities(x, pairs, "pearson"), expected, atol=1e-9)


def test_a_vector_without_direction(rng) -> None:
    x = np.array([[0, 0, 0], [0.1, 0.1, 0.1], [1, 2, 3]], dtype=np.float32)
    pairs = np.array([[0, 2], [1, 2], [2, 2]])
    assert np.isnan(similarities(x, pairs, "cosine")).tolist() == [True, False, False]
    assert np.isnan(similarities(x, pairs, "pearson")).tolist() == [True, True, False]


def test_distances_are_those_of_scipy(rng) -> None:
    positive = rng.random(3000) < 0.4
    scores = rng.normal(size=3000) + positive
    found = distances(scores, positive, bins=20)
    edges = np.quantile(scores, np.linspace(0, 1, 21))
    edges[-1] += 1
    p, q = (np.histogram(scores[c], edges)[0] + 0.5 for c in (positive, ~positive))
    p, q = p / p.sum(), q / q.sum()
    assert found.kl == pytest.approx(stats.entropy(p, q, base=2))
    assert found.js == pytest.approx(jensenshannon(p, q, base=2) ** 2)
    assert found.euclidean == pytest.approx(np.sqrt(((p - q) ** 2).sum()))


def test_distances_do_not_depend_on_the_scale(rng) -> None:
    positive = rng.random(1000) < 0.5
    scores = rng.normal(size=1000) + positive
    stretched = distances(np.exp(3 * scores), positive)
    assert stretched == distances(scores, positive)
    apart = distances(positive.astype(float), positive)
    assert apart.js > 0.8
    assert apart.euclidean == pytest.approx(np.sqrt(2), abs=0.2)


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_auroc_is_that_of_sklearn(rng, decimals: int) -> None:
    positive = rng.random(500) < 0.3
    scores = np.round(rng.normal(size=500) + positive, decimals)  # with ties
    weight = rng.integers(0, 4, 500).astype(float)
    ranking = Ranking(scores, positive)
    assert ranking.auroc() == pytest.approx(roc_auc_score(positive, scores))
    expected = roc_auc_score(positive, scores, sample_weight=weight)
    assert ranking.auroc(weight) == pytest.approx(expected)
    copies = np.repeat(np.arange(500), weight.astype(int))
    assert expected == pytest.approx(roc_auc_score(positive[copies], scores[copies]))


def test_auroc_of_one_class_is_nan() -> None:
    assert np.isnan(Ranking(np.arange(3.0), np.ones(3, dtype=bool)).auroc())


def test_pairs_that_share_genes_widen_the_interval(rng) -> None:
    """The same scores over few genes and over many: fewer genes say less."""
    positive = rng.random(2000) < 0.5
    few, many = rng.integers(30, size=(2000, 2)), rng.integers(4000, size=(2000, 2))
    scores = rng.normal(size=2000) + rng.normal(size=30)[few].sum(axis=1) + positive
    widths = []
    for pairs in (few, many):
        area, low, high = auroc_interval(scores, positive, pairs, 200, np.random.default_rng(1))
        assert low < area < high
        widths.append(high - low)
    assert widths[0] > widths[1]
    again = auroc_interval(scores, positive, many, 200, np.random.default_rng(1))
    assert again == (area, low, high)


def hubs_against_random(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positive pairs are hubs with others, negative pairs any two genes."""
    hubs = np.column_stack([rng.integers(20, size=2000), rng.integers(20, 800, size=2000)])
    pairs = np.concatenate([hubs, rng.integers(800, size=(2000, 2))])
    return pairs[pairs[:, 0] != pairs[:, 1]], np.arange(len(pairs))[
        pairs[:, 0] != pairs[:, 1]
    ] < 2000


def test_hubs_are_found_where_they_are(rng) -> None:
    pairs, positive = hubs_against_random(rng)
    assert Ranking(hub_scores(pairs, positive, rng), positive).auroc() > 0.7
    shuffled = rng.permutation(positive)
    assert Ranking(hub_scores(pairs, shuffled, rng), shuffled).auroc() == pytest.approx(
        0.5, abs=0.05
    )


def test_rewired_pairs_have_the_same_genes_and_no_positive_pair(rng) -> None:
    pairs, positive = hubs_against_random(rng)
    kept, new = rewired(pairs, positive, rng)
    assert positive[kept].all()
    real = {frozenset(p) for p in pairs[positive].tolist()}
    assert not real & {frozenset(p) for p in new.tolist()}
    assert (new[:, 0] != new[:, 1]).all()
    assert len(kept) > 0.7 * positive.sum()
    before, after = (np.bincount(p.ravel(), minlength=800) for p in (pairs[kept], new))
    assert np.abs(before - after).sum() < 0.06 * before.sum()
    # a score that knows only genes is of use in the first list alone
    knows = degree_product(pairs, pairs[positive])
    assert Ranking(knows, positive).auroc() > 0.9
    both = np.concatenate([pairs[kept], new])
    label = np.arange(len(both)) < len(kept)
    chances = [np.log(before + 1)[both].sum(axis=1), before[both].sum(axis=1).astype(float)]
    for score in chances:
        assert Ranking(score, label).auroc() == pytest.approx(0.5, abs=0.1)


def test_degree_product_counts() -> None:
    among = np.array([[0, 1], [0, 2], [3, 0]])
    assert degree_product(np.array([[0, 1], [2, 3], [4, 0]]), among).tolist() == [3, 1, 0]


def test_nothing_to_rank(rng) -> None:
    nothing = np.empty(0)
    pairs = np.empty((0, 2), dtype=int)
    assert np.isnan(auroc_interval(nothing, nothing > 0, pairs, 5, rng)).all()
