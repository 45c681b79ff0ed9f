"""Views of cells: what of a cell a training step reads.

A way of viewing takes the counts of some cells, the vocabulary, a random generator and the most
tokens of a view, and gives rankings of genes, as tokens: first views of all cells, then second
views. The same state of the generator gives the same views.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from genemamba.tokens import FIRST_GENE, Vocabulary, rank_csr

Rankings = list[np.ndarray]
View = Callable[[sparse.csr_matrix, Vocabulary, np.random.Generator, int], Rankings]


def halves(
    counts: sparse.csr_matrix, vocab: Vocabulary, rng: np.random.Generator, length: int
) -> Rankings:
    """Split the counts of a cell at random in two, rank both, thin a random stretch of the ranks.

    Of Poisson counts such halves are independent given the expression, so what they share is
    biology and not noise.
    """
    share = np.repeat(rng.uniform(0.35, 0.65, counts.shape[0]), np.diff(counts.indptr))
    first = rng.binomial(counts.data, share).astype(np.int32)
    return [
        thin(row, length, rng)
        for half in (first, counts.data - first)
        for row in _ranked(counts, half, vocab)
    ]


def dropped(
    counts: sparse.csr_matrix, vocab: Vocabulary, rng: np.random.Generator, length: int
) -> Rankings:
    """Keep a random half of the genes of a cell, twice, and thin a random stretch of the ranks."""
    rows = _ranked(counts, counts.data, vocab)
    return [thin(row[rng.random(len(row)) < 0.5], length, rng) for _ in range(2) for row in rows]


def whole(
    counts: sparse.csr_matrix, vocab: Vocabulary, rng: np.random.Generator, length: int
) -> Rankings:
    """Take the first `length` genes of a cell, once: what the paper reads."""
    return [row[:length] for row in _ranked(counts, counts.data, vocab)]


VIEWS: dict[str, View] = {"halves": halves, "dropped": dropped, "whole": whole}


def thin(row: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Keep `length` genes of a random stretch from the top of a ranking, in their order."""
    if len(row) <= length:
        return row
    stretch = rng.integers(length, len(row) + 1)
    return row[np.sort(rng.choice(stretch, length, replace=False))]


def _ranked(counts: sparse.csr_matrix, data: np.ndarray, vocab: Vocabulary) -> Rankings:
    token = np.arange(vocab.n_genes, dtype=np.int32) + FIRST_GENE
    ranked = rank_csr(counts.indptr, counts.indices, data, token, vocab.median, vocab.n_genes)
    return np.split(ranked.tokens, ranked.indptr[1:-1])
