"""Do the vectors of related genes resemble each other? The array core of ``gm.tl.gene_similarity``.

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
    """How far apart two distributions of similarities are."""

    euclidean: float
    """Between the two vectors of bin probabilities, 0 to √2."""
    kl: float
    """Kullback–Leibler divergence of the positive from the negative pairs, in bits."""
    js: float
    """Jensen–Shannon divergence in bits, 0 to 1."""


def similarities(vectors_GD: np.ndarray, pairs_P2: np.ndarray, measure: Measure) -> np.ndarray:
    """Return the cosine or Pearson correlation of the two vectors of each pair, ``(P,)`` float64.

    `pairs_P2` holds rows of `vectors_GD`. A vector without direction (zero, or constant for
    Pearson) gives NaN.
    """
    x = np.asarray(vectors_GD, dtype=np.float64)
    if measure == "pearson":
        x = x - x.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("gd,gd->g", x, x))
    scale = np.abs(vectors_GD).max(axis=1, initial=0)
    flat = length <= 1e-7 * np.sqrt(x.shape[1]) * scale  # what centring leaves of a constant
    x = x / np.where(flat, np.nan, length)[:, None]
    out = np.empty(len(pairs_P2))
    step = max(1, 2**22 // x.shape[1])  # pairs at once, so that memory stays small
    for start in range(0, len(out), step):
        a, b = pairs_P2[start : start + step].T
        out[start : start + step] = np.einsum("pd,pd->p", x[a], x[b])
    return out


def distances(scores: np.ndarray, positive: np.ndarray, bins: int = _BINS) -> Distances:
    """Compare the scores of positive and negative pairs as two histograms over the same bins.

    The bins are quantiles of all scores together, so each holds the same number of pairs and the
    result does not change if scores are stretched: embeddings of different spread compare. Half a
    pair is added to each bin, so that no probability is zero.
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
    """Scores of positive and negative pairs in order, for the area under the ROC curve.

    The area is the chance that a positive pair scores higher than a negative one, ties counted
    half. Sorting is done once: another weighting of the pairs costs one pass.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray) -> None:
        self._order = np.argsort(scores, kind="stable")
        ordered = scores[self._order]
        new = np.ones(len(ordered), dtype=bool)
        new[1:] = ordered[1:] != ordered[:-1]
        self._starts = np.flatnonzero(new)  # of each tie
        self._positive = positive[self._order]

    def auroc(self, weight: np.ndarray | None = None) -> float:
        """Return the area; `weight` is ``(P,)``, how often each pair counts. NaN if one class."""
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

    Pairs that share a gene are not independent, so genes are drawn with replacement, not pairs: a
    pair counts as often as its two genes were drawn, multiplied. DeLong's interval, which takes
    pairs as independent, would be too narrow.
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
    """Score each pair by how many positive pairs its genes have elsewhere, multiplied; ``(P,)``.

    Elsewhere is the other one of two random halves of the pairs. (All pairs but the scored one
    would leave a positive pair one count short, and so give its label away.) It knows nothing
    about a pair but its two genes.
    """
    half = rng.permutation(len(positive)) % 2
    out = np.empty(len(positive))
    for h in (0, 1):
        out[half == h] = degree_product(pairs_P2[half == h], pairs_P2[(half != h) & positive])
    return out


def degree_product(pairs_P2: np.ndarray, among_Q2: np.ndarray) -> np.ndarray:
    """Return how often each gene of a pair occurs `among` other pairs, multiplied; ``(P,)``."""
    most = max(pairs_P2.max(initial=0), among_Q2.max(initial=0))
    degree = np.bincount(among_Q2.ravel(), minlength=int(most) + 1)
    return degree[pairs_P2].astype(np.float64).prod(axis=1)


def rewired(
    pairs_P2: np.ndarray, positive: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Recombine the genes of the positive pairs into pairs that are not positive.

    Returns ``(M,)`` indices of positive pairs and ``(M', 2)`` new ones. A gene occurs in both
    equally often, so only knowledge about pairs tells them apart. A recombined pair that turns out
    positive is left out on both sides, which keeps the balance; one of a gene with itself is left
    out too (and nearly keeps it).
    """
    place = np.flatnonzero(positive)
    a, b = rng.permuted(pairs_P2[place], axis=1).T
    new = np.sort(np.column_stack([a, rng.permutation(b)]), axis=1)
    name = [int(pairs_P2.max(initial=-1)) + 1, 1]  # one number per pair
    named, real = new @ name, np.sort(pairs_P2[place], axis=1) @ name
    hit = np.isin(named, real)
    return place[~np.isin(real, named)], new[~hit & (new[:, 0] != new[:, 1])]
