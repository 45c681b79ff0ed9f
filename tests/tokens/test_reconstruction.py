from __future__ import annotations

import numpy as np
import pytest

from genemamba.tokens import MeanRanking, Ranked
from genemamba.tokens.reconstruction import (
    after_prefix,
    assign,
    choose_hidden,
    commonest,
    copy_all,
    copy_given,
    mean_ranking_after,
    mean_ranking_hidden,
    score,
    score_joined,
)


@pytest.fixture
def cells() -> Ranked:
    """Noisy copies of one order of 200 genes, of several lengths; one cell is empty."""
    rng = np.random.default_rng(0)
    rows = [
        np.argsort(np.arange(200) + rng.normal(0, 20, 200))[: rng.integers(20, 120)]
        for _ in range(30)
    ]
    rows[7] = rows[7][:0]
    indptr = np.append(0, np.cumsum([len(r) for r in rows])).astype(np.int64)
    return Ranked(np.concatenate(rows).astype(np.int32) + 2, indptr, np.ones(30), np.ones(30))


def everything(cells: Ranked) -> np.ndarray:
    return np.ones(len(cells.tokens), dtype=bool)


def test_a_share_of_each_cell_is_hidden(cells: Ranked) -> None:
    hidden = choose_hidden(cells, 0.15, np.random.default_rng(0))
    for start, n in zip(cells.indptr, cells.lengths, strict=False):
        assert hidden[start : start + n].sum() == (max(1, round(0.15 * n)) if n else 0)
    again = choose_hidden(cells, 0.15, np.random.default_rng(0))
    np.testing.assert_array_equal(hidden, again)


def test_a_prefix_is_given_and_never_nothing(cells: Ranked) -> None:
    asked = after_prefix(cells, 0.001)
    for start, n in zip(cells.indptr, cells.lengths, strict=False):
        if n:
            assert not asked[start]
            assert asked[start + 1 : start + n].all()


def test_a_copy_of_everything_is_perfect(cells: Ranked) -> None:
    scores = score(cells, copy_all(cells, moved=False), everything(cells))
    there = cells.lengths > 0
    for name, value in {"levenshtein": 0, "exact_match": 1, "bleu": 1, "spearman": 1}.items():
        np.testing.assert_allclose(scores[name][there], value, rtol=1e-6)
    assert all(np.isnan(values[7]) for values in scores.values())


def test_copying_the_next_gene_scores_eleven_as_published(cells: Ranked) -> None:
    """Two edits a cell, and eleven over ten cells joined: what the paper reports for its model."""
    full = cells.take(np.flatnonzero(cells.lengths)[:20])
    moved = copy_all(full, moved=True)
    assert (score(full, moved, everything(full))["levenshtein"] <= 2).all()
    assert score_joined(full, moved)["levenshtein_10"] == 11


def test_a_copy_of_what_is_given_finds_nothing(cells: Ranked) -> None:
    hidden = choose_hidden(cells, 0.2, np.random.default_rng(0))
    scores = score(cells, copy_given(cells, hidden), hidden)
    there = cells.lengths > 0
    n_hidden = np.add.reduceat(hidden, cells.indptr[:-1][there])
    np.testing.assert_array_equal(scores["levenshtein"][there], n_hidden)
    assert (scores["recall"][there] == 0).all()
    assert np.isnan(scores["spearman"]).all()


def test_the_mean_ranking_knows_where_genes_stand(cells: Ranked) -> None:
    ranking = MeanRanking.of(cells, 200)
    measured = np.arange(200) + 2
    hidden = choose_hidden(cells, 0.2, np.random.default_rng(0))
    rebuilt = mean_ranking_hidden(cells, hidden, measured, ranking)
    scores = score(cells, rebuilt, hidden)
    assert np.nanmean(scores["spearman"]) > 0.5
    assert np.nanmean(scores["recall_50"]) > 0.7
    asked = after_prefix(cells, 0.1)
    scores = score(cells, mean_ranking_after(cells, asked, measured, ranking), asked)
    assert np.nanmean(scores["spearman"]) > 0.5


def test_only_measured_genes_are_said_and_none_twice(cells: Ranked) -> None:
    ranking = MeanRanking.of(cells, 200)
    few = cells.take(np.arange(5))
    measured = np.unique(few.tokens)
    hidden = choose_hidden(few, 0.3, np.random.default_rng(0))
    for rebuilt in (
        mean_ranking_hidden(few, hidden, measured, ranking),
        mean_ranking_after(few, after_prefix(few, 0.5), measured, ranking),
    ):
        for i in range(5):
            cell = rebuilt.cell(i)
            assert len(np.unique(cell)) == len(cell) <= few.lengths[i]
            assert np.isin(cell, measured).all()


def test_what_is_visible_stays_in_its_place(cells: Ranked) -> None:
    hidden = choose_hidden(cells, 0.3, np.random.default_rng(0))
    ranking = MeanRanking.of(cells, 200)
    rebuilt = mean_ranking_hidden(cells, hidden, np.arange(200) + 2, ranking)
    np.testing.assert_array_equal(rebuilt.tokens[~hidden], cells.tokens[~hidden])
    assert np.isnan(rebuilt.rank[~hidden]).all()
    assert np.isfinite(rebuilt.rank[hidden]).all()


def test_genes_are_put_where_most_are_expected_to_be_right() -> None:
    probability = np.array([[0.5, 0.1, 0.4, 0.0], [0.6, 0.1, 0.2, 0.1]])
    chosen = commonest(probability)
    assert set(chosen) == {0, 2}
    np.testing.assert_array_equal(chosen[assign(probability[:, chosen])], [2, 0])
