"""Views of cells: the part of a cell that a training step reads.

The counts of cells are split into sets of views: first views of all cells, then second views. Each
set simulates another library:

- each gene keeps its counts with its own probability, exp(-capture · |z|), z standard normal;
- the second set may be cut to a panel of genes.

So what two sets share is not a library effect. Rankings that are too long are shortened. The same
generator state gives the same views.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from genemamba.tokens import FIRST_GENE, Vocabulary, rank_csr
from genemamba.train.recipe import Data

Rankings = list[np.ndarray]
PANELS = 150, 1_500  # genes of a panel, spread evenly on a log scale


class Views(NamedTuple):
    """Rankings and expression of the views."""

    rankings: Rankings
    """Tokens of each view, highest rank first."""
    expression: sparse.csr_matrix
    """Views × genes: counts divided by the probability of keeping them and the gene's median."""
    measured: np.ndarray
    """Sets × genes, bool: genes measured in all views of a set."""


def draw(
    settings: Data,
    counts: tuple[sparse.csr_matrix, ...],
    measured: tuple[np.ndarray, ...],
    vocab: Vocabulary,
    rng: np.random.Generator,
) -> Views:
    """Draw views of cells and rank them.

    Parameters
    ----------
    counts
        Cells × genes of `vocab`: one matrix for both sets of views, or one for each.
    measured
        For each matrix, ``(n_genes,)`` bool, the genes that all of its cells measure.
    """
    split, shorten = VIEWS[settings.views]
    sets, expression, seen = [], [], []
    for number in range(1 if settings.views == "whole" else 2):
        own = min(number, len(counts) - 1)
        if own == number:
            values = split(counts[own], settings, rng)
        chance = np.exp(-settings.capture * np.abs(rng.standard_normal(vocab.n_genes)))
        kept = rng.binomial(values[number], chance[counts[own].indices]).astype(np.int32)
        known = measured[own]
        if number and rng.random() < settings.panels:
            known = known & panel(_with_values(counts[own], kept), rng)
            kept *= known[counts[own].indices]
        sets.append(_with_values(counts[own], kept))
        expressed = kept / (chance * vocab.median)[counts[own].indices]
        expression.append(_with_values(counts[own], expressed))
        seen.append(known)
    ranked = _ranked(sparse.vstack(sets, format="csr"), vocab)
    rankings = [shorten(row, settings.length, rng) for row in ranked]
    return Views(rankings, sparse.vstack(expression, format="csr"), np.array(seen))


def parts(counts: sparse.csr_matrix, settings: Data, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw two disjoint parts of a cell's counts.

    Disjoint parts of Poisson counts are independent given the expression, so what they share is
    biology and not noise; nor is it depth, because depths differ.
    """
    total = np.maximum(counts.sum(axis=1).A1, 1)
    low, high = np.log([settings.shallowest, settings.deepest])
    depth = np.exp(rng.uniform(low, high, (2, len(total))))
    first_share, second_share = np.repeat(
        np.minimum(depth / total, 0.5), np.diff(counts.indptr), axis=1
    )
    first = rng.binomial(counts.data, first_share)
    second = rng.binomial(counts.data - first, second_share / (1 - first_share))
    return [first, second]


def whole(counts: sparse.csr_matrix, settings: Data, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the whole cell once, as in the paper."""
    return [counts.data]


def panel(counts: sparse.csr_matrix, rng: np.random.Generator) -> np.ndarray:
    """Return the genes of a random targeted panel, ``(n_genes,)`` bool.

    Drawn uniformly, or preferring variable genes, or markers of a few of the cells.
    """
    size = round(np.exp(rng.uniform(*np.log(PANELS))))
    total = np.maximum(counts.sum(axis=1).A1, 1)
    logged = _with_values(
        counts, np.log1p(counts.data / np.repeat(total, np.diff(counts.indptr)) * 1e4)
    )
    mean = logged.mean(axis=0).A1
    square = logged.power(2).mean(axis=0).A1
    weight = [
        (mean > 0).astype(float),
        np.maximum(square - mean**2, 0),  # variable
        np.where(mean > 0, square / np.maximum(mean, 1e-9) - mean, 0) * (mean > 0),  # markers
    ][rng.integers(3)]
    # the largest of weight^(1/noise) are a weighted draw without replacement; 2: squared weights
    key = np.where(
        weight > 0, np.log(np.maximum(weight, 1e-12)) * 2 + rng.gumbel(size=len(weight)), -np.inf
    )
    chosen = np.zeros(len(weight), dtype=bool)
    chosen[np.argsort(-key, kind="stable")[:size]] = True
    return chosen & (weight > 0)


def thin(row: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Keep `length` random genes from a random number of top ranks, in order."""
    if len(row) <= length:
        return row
    stretch = rng.integers(length, len(row) + 1)
    return row[np.sort(rng.choice(stretch, length, replace=False))]


def first(row: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Keep the first `length` genes of a ranking."""
    return row[:length]


VIEWS = {"parts": (parts, thin), "whole": (whole, first)}


def _ranked(counts: sparse.csr_matrix, vocab: Vocabulary) -> Rankings:
    token = np.arange(vocab.n_genes, dtype=np.int32) + FIRST_GENE
    ranked = rank_csr(
        counts.indptr, counts.indices, counts.data, token, vocab.median, vocab.n_genes
    )
    return np.split(ranked.tokens, ranked.indptr[1:-1])


def _with_values(counts: sparse.csr_matrix, values: np.ndarray) -> sparse.csr_matrix:
    """Replace the stored values of a matrix."""
    return sparse.csr_matrix((values, counts.indices, counts.indptr), counts.shape)
