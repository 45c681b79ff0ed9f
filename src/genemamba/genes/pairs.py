"""Similarity of the vectors of related genes: the array core of ``gm.tl.gene_similarity``.

Shapes: P pairs, G genes, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Measure = Literal["cosine", "pearson"]
MEASURES: tuple[Measure, ...] = ("cosine", "pearson")
_BINS = 50


@dataclass(frozen=True)
class Distances:
    """Distances between two distributions of similarities."""

    euclidean: float
    """Between the two vectors of bin probabilities, 0 to √2."""
    kl: float
    """Kullback–Leibler divergence of the positive from the negative pairs, in bits."""
    js: float
    """Jensen–Shannon divergence in bits, 0 to 1."""


def similarities(vectors_GD: np.ndarray, pairs_P2: np.ndarray, measure: Measure) -> np.ndarray:
    """Return cosine or Pearson correlation of each pair of rows, ``(P,)`` float64.

    NaN for a vector that is zero, or constant for Pearson.
    """
    x = np.asarray(vectors_GD, dtype=np.float64)
    if measure == "pearson":
        x = x - x.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("gd,gd->g", x, x))
    scale = np.abs(vectors_GD).max(axis=1, initial=0)
    flat = length <= 1e-7 * np.sqrt(x.shape[1]) * scale  # rounding left by centring a constant
    x = x / np.where(flat, np.nan, length)[:, None]
    out = np.empty(len(pairs_P2))
    step = max(1, 2**22 // x.shape[1])  # pairs at once, to bound memory
    for start in range(0, len(out), step):
        a, b = pairs_P2[start : start + step].T
        out[start : start + step] = np.einsum("pd,pd->p", x[a], x[b])
    return out


def distances(scores: np.ndarray, positive: np.ndarray, bins: int = _BINS) -> Distances:
    """Compare the scores of positive and negative pairs as two histograms.

    Bins are quantiles of all scores, so the result is invariant to monotonic transformations and
    comparable between embeddings. Half a pair is added to each bin to avoid zero probabilities.
    """
    edges = np.quantile(scores, np.linspace(0, 1, bins + 1)[1:-1])
    place = np.searchsorted(edges, scores, side="right")
    counts = [np.bincount(place[c], minlength=bins) + 0.5 for c in (positive, ~positive)]
    p, q = (c / c.sum() for c in counts)
    middle = (p + q) / 2

    def divergence(a: np.ndarray, b: np.ndarray) -> float:
        return float((a * np.log2(a / b)).sum())

    js = (divergence(p, middle) + divergence(q, middle)) / 2
    return Distances(float(np.linalg.norm(p - q)), divergence(p, q), js)


class Ranking:
    """Sorted scores of positive and negative pairs, for the area under the ROC curve.

    The area is the probability that a positive pair scores higher than a negative one; ties count
    half. Sorting is done once, so that another weighting of the pairs costs one pass.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray) -> None:
        self._order = np.argsort(scores, kind="stable")
        ordered = scores[self._order]
        new = np.ones(len(ordered), dtype=bool)
        new[1:] = ordered[1:] != ordered[:-1]
        self._starts = np.flatnonzero(new)  # of each tie
        self._positive = positive[self._order]

    def auroc(self, weight: np.ndarray | None = None) -> float:
        """Return the area with pairs weighted by `weight`, ``(P,)``; NaN if there is one class."""
        w = np.ones(len(self._order)) if weight is None else weight[self._order]
        pos = np.add.reduceat(w * self._positive, self._starts)
        neg = np.add.reduceat(w * ~self._positive, self._starts)
        below = np.cumsum(neg) - neg / 2
        total = pos.sum() * neg.sum()
        return float((pos * below).sum() / total) if total else float("nan")


def auroc_interval(
    scores: np.ndarray,
    positive: np.ndarray,
    pairs_P2: np.ndarray,
    n_boot: int,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Return AUROC and a 95 % percentile interval from a bootstrap over genes.

    Pairs that share a gene are dependent, so genes are resampled instead of pairs; the weight of a
    pair is the product of the counts of its genes. DeLong's interval assumes independent pairs and
    would be too narrow.
    """
    ranking = Ranking(scores, positive)
    area = ranking.auroc()
    if np.isnan(area):
        return area, area, area
    in_use = np.unique(pairs_P2)
    drawn = np.zeros(in_use[-1] + 1)
    areas = np.empty(n_boot)
    for i in range(n_boot):
        drawn[in_use] = rng.multinomial(len(in_use), np.full(len(in_use), 1 / len(in_use)))
        areas[i] = ranking.auroc(drawn[pairs_P2[:, 0]] * drawn[pairs_P2[:, 1]])
    known = areas[np.isfinite(areas)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return area, float(low), float(high)


def hub_scores(pairs_P2: np.ndarray, positive: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Score each pair by the product of its genes' positive pairs among the other half, ``(P,)``.

    The pairs are split into two random halves, because counting all other pairs would reveal the
    label: a positive pair would have one less. The score knows nothing about the pair itself.
    """
    half = rng.permutation(len(positive)) % 2
    out = np.empty(len(positive))
    for h in (0, 1):
        out[half == h] = degree_product(pairs_P2[half == h], pairs_P2[(half != h) & positive])
    return out


def degree_product(pairs_P2: np.ndarray, among_Q2: np.ndarray) -> np.ndarray:
    """Return the product of how often the genes of a pair occur in other pairs, ``(P,)``."""
    most = max(pairs_P2.max(initial=0), among_Q2.max(initial=0))
    degree = np.bincount(among_Q2.ravel(), minlength=int(most) + 1)
    return degree[pairs_P2].astype(np.float64).prod(axis=1)


def rewired(
    pairs_P2: np.ndarray, positive: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Recombine the genes of the positive pairs into pairs that are not positive.

    Returns ``(M,)`` indices of positive pairs and ``(M', 2)`` new ones. Each gene occurs equally
    often in both, so only knowledge about pairs separates them. Recombined pairs that are positive
    are removed from both sides, which keeps the balance; so are pairs of a gene with itself, which
    nearly keeps it.
    """
    place = np.flatnonzero(positive)
    a, b = rng.permuted(pairs_P2[place], axis=1).T
    new = np.sort(np.column_stack([a, rng.permutation(b)]), axis=1)
    name = [int(pairs_P2.max(initial=-1)) + 1, 1]  # one number per pair
    named, real = new @ name, np.sort(pairs_P2[place], axis=1) @ name
    hit = np.isin(named, real)
    return place[~np.isin(real, named)], new[~hit & (new[:, 0] != new[:, 1])]
