"""Views of cells: what of a cell a training step reads.

A way of viewing takes the counts of some cells, the vocabulary, a random generator and the most
tokens of a view, and gives first views of all cells, then second views. The same state of the
generator gives the same views.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import sparse

from genemamba.tokens import FIRST_GENE, Vocabulary, rank_csr

Rankings = list[np.ndarray]


class Views(NamedTuple):
    """What is read, and the counts it was taken from."""

    rankings: Rankings
    """Of each view, the tokens of its genes in the order of their ranks."""
    counts: sparse.csr_matrix
    """Views × genes."""


View = Callable[[sparse.csr_matrix, Vocabulary, np.random.Generator, int], Views]


def halves(
    counts: sparse.csr_matrix, vocab: Vocabulary, rng: np.random.Generator, length: int
) -> Views:
    """Split the counts of a cell at random in two, rank both, thin a random stretch of the ranks.

    Of Poisson counts such halves are independent given the expression, so what they share is
    biology and not noise.
    """
    share = np.repeat(rng.uniform(0.35, 0.65, counts.shape[0]), np.diff(counts.indptr))
    first = rng.binomial(counts.data, share).astype(np.int32)
    both = _with_values(counts, first, counts.data - first)
    return Views([thin(row, length, rng) for row in _ranked(both, vocab)], both)


def dropped(
    counts: sparse.csr_matrix, vocab: Vocabulary, rng: np.random.Generator, length: int
) -> Views:
    """Keep a random half of the genes of a cell, twice, and thin a random stretch of the ranks."""
    both = _with_values(counts, *(counts.data * (rng.random(counts.nnz) < 0.5) for _ in range(2)))
    return Views([thin(row, length, rng) for row in _ranked(both, vocab)], both)


def whole(
    counts: sparse.csr_matrix, vocab: Vocabulary, rng: np.random.Generator, length: int
) -> Views:
    """Take the first `length` genes of a cell, once: what the paper reads."""
    return Views([row[:length] for row in _ranked(counts, vocab)], counts)


VIEWS: dict[str, View] = {"halves": halves, "dropped": dropped, "whole": whole}


def thin(row: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Keep `length` genes of a random stretch from the top of a ranking, in their order."""
    if len(row) <= length:
        return row
    stretch = rng.integers(length, len(row) + 1)
    return row[np.sort(rng.choice(stretch, length, replace=False))]


def _ranked(counts: sparse.csr_matrix, vocab: Vocabulary) -> Rankings:
    token = np.arange(vocab.n_genes, dtype=np.int32) + FIRST_GENE
    ranked = rank_csr(
        counts.indptr, counts.indices, counts.data, token, vocab.median, vocab.n_genes
    )
    return np.split(ranked.tokens, ranked.indptr[1:-1])


def _with_values(counts: sparse.csr_matrix, *values: np.ndarray) -> sparse.csr_matrix:
    """Stack copies of a matrix, each with other values at its entries, which may be 0."""
    each = [sparse.csr_matrix((v, counts.indices, counts.indptr), counts.shape) for v in values]
    return sparse.vstack(each, format="csr")
