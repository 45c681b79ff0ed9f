"""How far embeddings move and where to, and whether other genes would have moved them as far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genemamba.tokens import Ranked


def cosine_distance(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return one minus the cosine of each pair of rows, ``(n,)`` float64.

    Half the squared distance of the unit vectors is the same number, and does not lose the
    digits of a small one.
    """
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (before, after))
    return ((a - b) ** 2).sum(axis=1) / 2


@dataclass(frozen=True, eq=False)
class Direction:
    """The way from one state to another, between their centroids.

    Parameters
    ----------
    source, target
        ``(d,)`` float64, the centroids.
    """

    source: np.ndarray
    target: np.ndarray

    def alignment(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return the cosine of each shift with the way, ``(n,)``; 0 where nothing shifted."""
        shift, way = after - before, self.target - self.source
        lengths = np.linalg.norm(shift, axis=1) * np.linalg.norm(way)
        return np.divide(shift @ way, lengths, out=np.zeros(len(shift)), where=lengths > 0)

    def score(self, X: np.ndarray) -> np.ndarray:
        """Return how much nearer each row lies to target than to source, ``(n,)``.

        In units of their distance: 1 at the target, -1 at the source.
        """
        far, near = (np.linalg.norm(X - c, axis=1) for c in (self.source, self.target))
        return (far - near) / np.linalg.norm(self.target - self.source)


def control_p(
    values: np.ndarray, controls: Sequence[np.ndarray], *, two_sided: bool = False
) -> np.ndarray:
    """Return how often a control of any row is as extreme: ``(1 + hits) / (1 + controls)``.

    Each value and its own controls are first put into units of their median and interquartile
    range; so the controls of all rows are one null distribution. Of a single row, p is the rank of
    the value among its controls.

    One-sided: as large. Two-sided: twice the smaller side, at most 1. NaN without controls.
    """
    own, null = np.full(len(values), np.nan), [np.empty(0)]
    for row, (value, drawn) in enumerate(zip(values, controls, strict=True)):
        drawn = drawn[np.isfinite(drawn)]
        if len(drawn) and np.isfinite(value):
            own[row], *standard = _standard(np.append(value, drawn))
            null.append(np.array(standard))
    pooled = np.sort(np.concatenate(null))
    larger = 1 + len(pooled) - np.searchsorted(pooled, own, "left")
    smaller = 1 + np.searchsorted(pooled, own, "right")
    hits = larger
    if two_sided:
        hits = np.minimum(2 * np.minimum(larger, smaller), 1 + len(pooled))
    return np.where(np.isfinite(own), hits / (1 + len(pooled)), np.nan)


def _standard(values: np.ndarray) -> np.ndarray:
    """Put values into units of their median and interquartile range, which outliers do not move."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return (values - middle) / max(high - low, np.finfo(float).tiny)


@dataclass(frozen=True, eq=False)
class Profile:
    """Detection and mean rank of genes in a group of cells.

    Parameters
    ----------
    tokens
        ``(n,)`` int32, the genes.
    features
        ``(n, 2)`` float64: log of the fraction of cells that express the gene, and its mean
        place in their rankings (0 first, 1 last), both in units of their spread over genes.
    n_cells
        ``(n,)`` int64, cells that express the gene.
    """

    tokens: np.ndarray
    features: np.ndarray
    n_cells: np.ndarray

    @classmethod
    def of(cls, ranked: Ranked, tokens: np.ndarray) -> Profile:
        """Describe these genes in these cells; one that no cell expresses ranks last."""
        lengths = np.repeat(ranked.lengths, ranked.lengths)
        place = ranked.rank / np.maximum(lengths, 1)
        size = 1 + max(int(tokens.max(initial=0)), int(ranked.tokens.max(initial=0)))
        n = np.bincount(ranked.tokens, minlength=size)[tokens]
        sums = np.bincount(ranked.tokens, place, minlength=size)[tokens]
        mean = np.divide(sums, n, out=np.ones(len(n)), where=n > 0)
        features = np.column_stack([np.log((n + 0.5) / (ranked.n_cells + 0.5)), mean])
        spread = features.std(axis=0)
        return cls(tokens, features / np.where(spread > 0, spread, 1), n)

    def like(
        self, genes: Sequence[int], n: int, rng: np.random.Generator, cells: int = 0
    ) -> list[tuple[int, ...]]:
        """Draw up to `n` different sets of genes, each member like one of `genes`.

        The candidates for a member are the `n` genes nearest to it, none of `genes` among them, of
        those that as many cells express, or `cells` of them; genes equally near are drawn at
        random.
        """
        nearest = [self._nearest(gene, genes, n, rng, cells) for gene in genes]
        if len(genes) == 1:
            return [(int(token),) for token in nearest[0]]
        drawn: dict[tuple[int, ...], tuple[int, ...]] = {}
        for _ in range(20):  # a few rounds: members of a set must differ, and sets as well
            shuffled = [rng.permutation(candidates).tolist() for candidates in nearest]
            for members in zip(*shuffled, strict=False):  # a frequent gene has fewer candidates
                if len(set(members)) == len(members) and len(drawn) < n:
                    drawn.setdefault(tuple(sorted(members)), members)
        return list(drawn.values())

    def _nearest(
        self, gene: int, without: Sequence[int], n: int, rng: np.random.Generator, cells: int
    ) -> np.ndarray:
        home = np.flatnonzero(self.tokens == gene)[0]
        distance = ((self.features - self.features[home]) ** 2).sum(axis=1)
        too_rare = self.n_cells < min(cells, self.n_cells[home])
        distance[too_rare | np.isin(self.tokens, without)] = np.inf
        order = np.lexsort((rng.random(len(distance)), distance))
        return self.tokens[order[: min(n, int(np.isfinite(distance).sum()))]]
