"""Views of cells: what of a cell a training step reads.

The counts of cells are split into sets of views, first views of all cells, then second views. Each
set is then measured as a library of its own would be:

- each gene keeps its counts with a chance of its own, exp(-capture · |z|), z standard normal;
- the second set may be cut to a panel of genes.

What two sets share is then not what sets a library apart. A ranking that is too long is shortened.
The same state of the generator gives the same views.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import sparse

from genemamba.tokens import FIRST_GENE, Vocabulary, rank_csr
from genemamba.train.recipe import Data

Rankings = list[np.ndarray]
PANELS = 150, 1_500  # genes of a panel, spread evenly on a log scale


class Views(NamedTuple):
    """What is read, and what the cell was seen to express."""

    rankings: Rankings
    """Of each view, the tokens of its genes in the order of their ranks."""
    expression: sparse.csr_matrix
    """Views × genes: counts over the chance to keep one and over the gene's median."""
    measured: np.ndarray
    """Sets × genes, bool: what could have been seen in all views of a set."""


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
    settings
        How to view a cell.
    counts
        Cells × genes of `vocab`: one matrix, of which both sets show the same cells, or two, of
        which either set shows one.
    measured
        Of each matrix, ``(n_genes,)`` bool, the genes that all of its cells measure.
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
    """Take two parts of a cell's counts.

    Of Poisson counts parts that share no count are independent given the expression, so what they
    have in common is biology and not noise. Each has a depth of its own, so that is not depth.
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
    """Take the cell as it is, once: what the paper reads."""
    return [counts.data]


def panel(counts: sparse.csr_matrix, rng: np.random.Generator) -> np.ndarray:
    """``(n_genes,)`` bool, genes that an assay of few genes might measure in these cells.

    Drawn at random, or preferring genes that vary, or genes that mark a few of the cells.
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
        np.maximum(square - mean**2, 0),  # varies
        np.where(mean > 0, square / np.maximum(mean, 1e-9) - mean, 0) * (mean > 0),  # marks a few
    ][rng.integers(3)]
    # the largest of weight^(1/noise) are a draw without replacement by weight; twice: it prefers
    key = np.where(
        weight > 0, np.log(np.maximum(weight, 1e-12)) * 2 + rng.gumbel(size=len(weight)), -np.inf
    )
    chosen = np.zeros(len(weight), dtype=bool)
    chosen[np.argsort(-key, kind="stable")[:size]] = True
    return chosen & (weight > 0)


def thin(row: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Keep `length` genes of a random stretch from the top of a ranking, in their order."""
    if len(row) <= length:
        return row
    stretch = rng.integers(length, len(row) + 1)
    return row[np.sort(rng.choice(stretch, length, replace=False))]


def first(row: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Keep the first `length` genes of a ranking."""
    return row[:length]


Split = Callable[[sparse.csr_matrix, Data, np.random.Generator], list[np.ndarray]]
Shorten = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
VIEWS: dict[str, tuple[Split, Shorten]] = {"parts": (parts, thin), "whole": (whole, first)}


def _ranked(counts: sparse.csr_matrix, vocab: Vocabulary) -> Rankings:
    token = np.arange(vocab.n_genes, dtype=np.int32) + FIRST_GENE
    ranked = rank_csr(
        counts.indptr, counts.indices, counts.data, token, vocab.median, vocab.n_genes
    )
    return np.split(ranked.tokens, ranked.indptr[1:-1])


def _with_values(counts: sparse.csr_matrix, values: np.ndarray) -> sparse.csr_matrix:
    """Return a copy of a matrix with other values at its entries, which may be 0."""
    return sparse.csr_matrix((values, counts.indices, counts.indptr), counts.shape)
