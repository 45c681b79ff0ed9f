"""Views of cells: what of a cell a training step reads.

A way of viewing takes the counts of some cells of one library, the vocabulary, a random generator,
the most tokens of a view and the spread of capture, and gives first views of all cells, then second
views. The same state of the generator gives the same views.

Spread of capture: libraries differ in how well they catch a gene. Each of the two sets of views
keeps every count of a gene with a chance of its own, exp(-spread · |z|), z standard normal, so what
the two sets share is not what sets a library apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from genemamba.tokens import FIRST_GENE, Vocabulary, rank_csr

Rankings = list[np.ndarray]


class Views(NamedTuple):
    """What is read, and what the cell was seen to express."""

    rankings: Rankings
    """Of each view, the tokens of its genes in the order of their ranks."""
    expression: sparse.csr_matrix
    """Views × genes: counts over the chance to keep one and over the gene's median."""


DEPTHS = 400, 4_000  # counts of a part, spread evenly on a log scale; at most half of the cell's
View = Callable[[sparse.csr_matrix, Vocabulary, np.random.Generator, int, float], Views]


def parts(
    counts: sparse.csr_matrix,
    vocab: Vocabulary,
    rng: np.random.Generator,
    length: int,
    capture: float,
) -> Views:
    """Draw two parts of a cell's counts, rank both, thin a random stretch of the ranks.

    Of Poisson counts parts that share no count are independent given the expression, so what they
    have in common is biology and not noise. Each has a depth of its own, so that is not depth.
    """
    total = np.maximum(counts.sum(axis=1).A1, 1)
    lowest, highest = np.log(DEPTHS)
    depth = np.exp(rng.uniform(lowest, highest, (2, len(total))))
    first_share, second_share = np.repeat(
        np.minimum(depth / total, 0.5), np.diff(counts.indptr), axis=1
    )
    first = rng.binomial(counts.data, first_share)
    second = rng.binomial(counts.data - first, second_share / (1 - first_share))
    return _views(counts, (first, second), vocab, rng, length, capture)


def dropped(
    counts: sparse.csr_matrix,
    vocab: Vocabulary,
    rng: np.random.Generator,
    length: int,
    capture: float,
) -> Views:
    """Keep a random half of the genes of a cell, twice, and thin a random stretch of the ranks."""
    both = [counts.data * (rng.random(counts.nnz) < 0.5) for _ in range(2)]
    return _views(counts, both, vocab, rng, length, capture)


def whole(
    counts: sparse.csr_matrix,
    vocab: Vocabulary,
    rng: np.random.Generator,
    length: int,
    capture: float,
) -> Views:
    """Take the first `length` genes of a cell, once: what the paper reads."""
    kept, chance = _captured(counts, counts.data, rng, capture)
    seen = _with_values(counts, kept)
    rankings = [row[:length] for row in _ranked(seen, vocab)]
    return Views(rankings, _with_values(counts, kept / _expected(counts, chance, vocab)))


VIEWS: dict[str, View] = {"parts": parts, "dropped": dropped, "whole": whole}


def thin(row: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Keep `length` genes of a random stretch from the top of a ranking, in their order."""
    if len(row) <= length:
        return row
    stretch = rng.integers(length, len(row) + 1)
    return row[np.sort(rng.choice(stretch, length, replace=False))]


def _views(
    counts: sparse.csr_matrix,
    both: Sequence[np.ndarray],
    vocab: Vocabulary,
    rng: np.random.Generator,
    length: int,
    capture: float,
) -> Views:
    """Rank what two sets of views keep of the counts, and thin a stretch of every ranking."""
    pairs = [_captured(counts, values, rng, capture) for values in both]
    seen = _with_values(counts, *(kept for kept, _ in pairs))
    rankings = [thin(row, length, rng) for row in _ranked(seen, vocab)]
    values = [kept / _expected(counts, chance, vocab) for kept, chance in pairs]
    return Views(rankings, _with_values(counts, *values))


def _captured(
    counts: sparse.csr_matrix, values: np.ndarray, rng: np.random.Generator, capture: float
) -> tuple[np.ndarray, np.ndarray]:
    """Keep each count with the chance of its gene, which all cells share; return that, too."""
    chance = np.ones(counts.shape[1])
    if capture:
        chance = np.exp(-capture * np.abs(rng.standard_normal(counts.shape[1])))
        values = rng.binomial(values, chance[counts.indices])
    return values.astype(np.int32), chance


def _expected(counts: sparse.csr_matrix, chance: np.ndarray, vocab: Vocabulary) -> np.ndarray:
    return (chance * vocab.median)[counts.indices]


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
