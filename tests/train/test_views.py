from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import spearmanr

from genemamba.datasets import Corpus
from genemamba.tokens import FIRST_GENE
from genemamba.train.recipe import Data
from genemamba.train.views import PANELS, VIEWS, Rankings, Views, draw, panel


def drawn(corpus: Corpus, counts: sparse.csr_matrix, seed: int = 0, **settings: Any) -> Views:
    everything = np.ones(corpus.vocab.n_genes, dtype=bool)
    rng = np.random.default_rng(seed)
    return draw(Data(**settings), (counts,), (everything,), corpus.vocab, rng)


def views_of(corpus: Corpus, kind: str, cells: slice, length: int = 40) -> Rankings:
    counts = corpus.rows(np.arange(cells.start, cells.stop))
    return drawn(corpus, counts, views=kind, length=length, capture=0.7).rankings


@pytest.mark.parametrize("kind", VIEWS)
def test_the_same_seed_gives_the_same_views(corpus: Corpus, kind: str) -> None:
    one, two = (views_of(corpus, kind, slice(0, 20)) for _ in range(2))
    assert len(one) == (20 if kind == "whole" else 40)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_parts_share_no_count_and_differ_in_depth(corpus: Corpus) -> None:
    counts = corpus.rows(np.arange(len(corpus)))
    counts.data[:] = 1
    views = drawn(corpus, counts, length=500).rankings
    pairs = list(zip(views[: len(views) // 2], views[len(views) // 2 :], strict=True))
    assert not any(set(a) & set(b) for a, b in pairs)
    deep = corpus.rows(np.arange(len(corpus)))
    deep.data[:] = 1_000
    found = drawn(corpus, deep, length=500, shallowest=300, deepest=3_000).expression
    depth = (found.toarray() * corpus.vocab.median).sum(1)
    assert 300 * 0.8 < depth.min() < 600 < 1_500 < depth.max() < 3_000 * 1.2
    assert abs(np.corrcoef(*np.log(depth).reshape(2, -1))[0, 1]) < 0.3


def test_whole_cells_are_what_the_corpus_ranked(corpus: Corpus) -> None:
    counts = corpus.rows(np.arange(20))
    views = drawn(corpus, counts, views="whole", length=30).rankings
    for i, view in enumerate(views):
        np.testing.assert_array_equal(view, counts[i].indices[:30] + FIRST_GENE)


def test_a_thinned_row_keeps_the_order_of_the_ranks(corpus: Corpus) -> None:
    long = views_of(corpus, "parts", slice(0, 1), length=700)
    short = views_of(corpus, "parts", slice(0, 1), length=40)
    assert len(short[0]) == 40 < len(long[0])
    assert is_part(short[0], long[0])


@pytest.mark.parametrize("kind", ["parts", "whole"])
def test_expression_is_what_was_there_however_genes_were_caught(corpus: Corpus, kind: str) -> None:
    """Over many draws, as shares of a cell, in units of the genes' medians."""
    counts = corpus.rows(np.arange(6))
    counts.data[:] = 200
    total = np.zeros(counts.shape)
    for seed in range(300):
        found = drawn(corpus, counts, seed, views=kind, length=40, capture=0.5).expression.toarray()
        total += found if kind == "whole" else found[:6] + found[6:]
    expected = counts.toarray() / corpus.vocab.median
    total, expected = (x / x.sum(1, keepdims=True) for x in (total, expected))
    here = expected > 0
    np.testing.assert_allclose(total[here] / expected[here], 1, atol=0.25)
    np.testing.assert_allclose(np.mean(total[here] / expected[here]), 1, atol=0.01)
    assert not total[~here].any()


def test_cells_of_one_set_of_views_catch_a_gene_alike_and_sets_do_not(corpus: Corpus) -> None:
    counts = corpus.rows(np.arange(2))
    counts.data[:] = 100_000  # so many that chance does not tell
    one, two = (
        drawn(corpus, counts, seed, views="whole", length=10_000, capture=0.7).rankings
        for seed in (0, 1)
    )
    assert order_in_common(one[0], one[1]) > 0.999
    assert order_in_common(one[0], two[0]) < 0.99  # the same cell


def test_second_views_may_be_cut_to_a_panel(corpus: Corpus) -> None:
    counts = corpus.rows(np.arange(64))
    sizes = set()
    for seed in range(30):
        views = drawn(corpus, counts, seed, length=500, panels=1.0, deepest=100_000)
        whole, cut = views.measured
        assert whole.all() and cut.sum() <= PANELS[1]
        sizes.add(int(cut.sum()))
        for ranking in views.rankings[64:]:
            assert cut[ranking - FIRST_GENE].all()
        assert (
            not views.expression[64:][:, ~cut].nnz or not views.expression[64:][:, ~cut].data.any()
        )
    assert len(sizes) > 10
    never = drawn(corpus, counts, length=500, panels=0.0)
    assert never.measured.all()


def test_a_panel_has_genes_that_are_expressed_and_other_ones_each_time(corpus: Corpus) -> None:
    counts = corpus.rows(np.arange(64))
    one, two = (panel(counts, np.random.default_rng(seed)) for seed in (1, 2))
    expressed = counts.getnnz(axis=0) > 0
    assert expressed[one].all() and expressed[two].all()
    assert not np.array_equal(one, two)


def test_a_pair_shows_one_cell_first_and_the_other_second(corpus: Corpus) -> None:
    own = corpus.rows(np.arange(8)), corpus.rows(np.arange(8, 16))
    measured = np.ones((2, corpus.vocab.n_genes), dtype=bool)
    measured[1, ::2] = False
    settings = Data(length=10_000, deepest=100_000)
    views = draw(settings, own, tuple(measured), corpus.vocab, np.random.default_rng(0))
    np.testing.assert_array_equal(views.measured, measured)
    for i, ranking in enumerate(views.rankings):
        assert set(ranking - FIRST_GENE) <= set(own[i // 8][i % 8].indices)


def order_in_common(one: np.ndarray, two: np.ndarray) -> float:
    """Rank correlation of the genes that stand in both."""
    common = np.intersect1d(one, two)
    assert len(common) > 50
    places = [np.flatnonzero(np.isin(row, common))[np.argsort(row[np.isin(row, common)])]
              for row in (one, two)]  # fmt: skip
    return float(spearmanr(*places).statistic)


def is_part(row: np.ndarray, whole: np.ndarray) -> bool:
    rank = {token: i for i, token in enumerate(whole.tolist())}
    places = [rank[token] for token in row.tolist()]
    return places == sorted(places)
