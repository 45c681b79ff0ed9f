"""Views of cells: what of a cell a training step reads.

A way of viewing splits the counts of some cells of one library into sets of views, and shortens a
ranking that is too long. `draw` gives first views of all cells, then second views; the same state
of the generator gives the same views.

Spread of capture: libraries differ in how well they catch a gene. Each set of views keeps every
count of a gene with a chance of its own, exp(-spread · |z|), z standard normal, so what two sets
share is not what sets a library apart.
"""

from __future__ import annotations

from collections.abc import Callable
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


def draw(
    kind: str,
    counts: sparse.csr_matrix,
    vocab: Vocabulary,
    rng: np.random.Generator,
    *,
    length: int,
    capture: float = 0.0,
) -> Views:
    """Draw views of cells and rank them.

    Parameters
    ----------
    kind
        One of `VIEWS`.
    counts
        Cells of one library × genes of `vocab`.
    length
        Most tokens of a view.
    capture
        Spread of the chances to keep a gene's counts.
    """
    split, shorten = VIEWS[kind]
    sets, expression = zip(
        *(_captured(counts, values, vocab, rng, capture) for values in split(counts, rng)),
        strict=True,
    )
    ranked = _ranked(sparse.vstack(sets, format="csr"), vocab)
    rankings = [shorten(row, length, rng) for row in ranked]
    return Views(rankings, sparse.vstack(expression, format="csr"))


def parts(counts: sparse.csr_matrix, rng: np.random.Generator) -> list[np.ndarray]:
    """Take two parts of a cell's counts.

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
    return [first, second]


def dropped(counts: sparse.csr_matrix, rng: np.random.Generator) -> list[np.ndarray]:
    """Keep a random half of the genes of a cell, twice."""
    return [counts.data * (rng.random(counts.nnz) < 0.5) for _ in range(2)]


def whole(counts: sparse.csr_matrix, rng: np.random.Generator) -> list[np.ndarray]:
    """Take the cell as it is, once: what the paper reads."""
    return [counts.data]


def thin(row: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Keep `length` genes of a random stretch from the top of a ranking, in their order."""
    if len(row) <= length:
        return row
    stretch = rng.integers(length, len(row) + 1)
    return row[np.sort(rng.choice(stretch, length, replace=False))]


def first(row: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Keep the first `length` genes of a ranking."""
    return row[:length]


Split = Callable[[sparse.csr_matrix, np.random.Generator], list[np.ndarray]]
Shorten = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
VIEWS: dict[str, tuple[Split, Shorten]] = {
    "parts": (parts, thin),
    "dropped": (dropped, thin),
    "whole": (whole, first),
}


def _captured(
    counts: sparse.csr_matrix,
    values: np.ndarray,
    vocab: Vocabulary,
    rng: np.random.Generator,
    capture: float,
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Return the counts kept, each with the chance of its gene in all cells, and expression."""
    chance = np.ones(counts.shape[1])
    if capture:
        chance = np.exp(-capture * np.abs(rng.standard_normal(counts.shape[1])))
        values = rng.binomial(values, chance[counts.indices])
    kept = values.astype(np.int32)
    expression = kept / (chance * vocab.median)[counts.indices]
    return _with_values(counts, kept), _with_values(counts, expression)


def _ranked(counts: sparse.csr_matrix, vocab: Vocabulary) -> Rankings:
    token = np.arange(vocab.n_genes, dtype=np.int32) + FIRST_GENE
    ranked = rank_csr(
        counts.indptr, counts.indices, counts.data, token, vocab.median, vocab.n_genes
    )
    return np.split(ranked.tokens, ranked.indptr[1:-1])


def _with_values(counts: sparse.csr_matrix, values: np.ndarray) -> sparse.csr_matrix:
    """Return a copy of a matrix with other values at its entries, which may be 0."""
    return sparse.csr_matrix((values, counts.indices, counts.indptr), counts.shape)
