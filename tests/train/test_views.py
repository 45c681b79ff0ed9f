from __future__ import annotations

import numpy as np

from genemamba.datasets import Corpus
from genemamba.tokens import PAD
from genemamba.train.views import IGNORE, two_views


def views_of(corpus: Corpus, cells: slice, **settings: object) -> object:
    settings = {"length": 40, "mask_fraction": 0.2} | settings
    return two_views(
        corpus.rows(np.arange(cells.start, cells.stop)),
        corpus.vocab,
        np.random.default_rng(0),
        **settings,
    )


def test_the_same_seed_gives_the_same_views(corpus: Corpus) -> None:
    one, two = views_of(corpus, slice(0, 20)), views_of(corpus, slice(0, 20))
    np.testing.assert_array_equal(one.ids, two.ids)
    np.testing.assert_array_equal(one.targets, two.targets)


def test_a_hidden_gene_is_nowhere_in_its_row(corpus: Corpus) -> None:
    """The leak that a masked objective must not have."""
    views = views_of(corpus, slice(0, 50))
    mask = corpus.vocab.special("[MASK]")
    assert 0.1 < np.mean(views.targets[views.ids != PAD] != IGNORE) < 0.3
    for ids, targets in zip(views.ids, views.targets, strict=True):
        hidden = targets != IGNORE
        assert (ids[hidden] == mask).all()
        assert not set(ids[~hidden]) & set(targets[hidden])


def test_the_next_gene_hides_nothing(corpus: Corpus) -> None:
    whole = views_of(corpus, slice(0, 50), mask_fraction=0.0)
    views = views_of(corpus, slice(0, 50), predict="next")
    np.testing.assert_array_equal(views.ids, whole.ids)
    row, place = np.nonzero(views.targets != IGNORE)
    assert len(row) > 100
    np.testing.assert_array_equal(views.targets[row, place], whole.ids[row, place + 1])
    assert (place + 1 < views.lengths[row]).all()


def test_padding_is_at_the_end_and_never_a_target(corpus: Corpus) -> None:
    views = views_of(corpus, slice(0, 50), length=300)
    for ids, targets, n in zip(views.ids, views.targets, views.lengths, strict=True):
        assert (ids[:n] != PAD).all()
        assert (ids[n:] == PAD).all()
        assert (targets[n:] == IGNORE).all()


def test_the_halves_share_out_the_counts(corpus: Corpus) -> None:
    """A gene with one count is in one half only, and none is lost."""
    once = corpus.rows(np.arange(len(corpus)))
    once.data[:] = 1
    views = two_views(once, corpus.vocab, np.random.default_rng(0), length=500, mask_fraction=0.0)
    first, second = np.split(views.ids, 2)
    for a, b, n in zip(first, second, once.getnnz(1), strict=True):
        a, b = set(a[a != PAD]), set(b[b != PAD])
        assert not a & b
        assert len(a) + len(b) == n


def test_a_thinned_row_keeps_the_order_of_the_ranks(corpus: Corpus) -> None:
    whole = views_of(corpus, slice(0, 10), length=700, mask_fraction=0.0)
    thinned = views_of(corpus, slice(0, 10), length=40, mask_fraction=0.0)
    for long, short, n in zip(whole.ids, thinned.ids, thinned.lengths, strict=True):
        rank = {token: i for i, token in enumerate(long.tolist())}
        positions = [rank[token] for token in short[:n].tolist()]
        assert positions == sorted(positions)
