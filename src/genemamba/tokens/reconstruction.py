"""Reconstructed cells, their scores, and baselines that need no model.

The targets are genes of a cell whose identity and rank are predicted: hidden genes, genes after a
prefix, or all genes. All other genes are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax

from .rank import Ranked
from .ranking import MeanRanking
from .scores import bleu, levenshtein, ranks_in, spearman
from .vocab import FIRST_GENE

LIKELY = 50
"""A hidden gene counts as found if it is among this many most likely ones for its position."""
SCORES = ("exact_match", "levenshtein", "nld", "bleu", "spearman", "recall", "recall_50")
JOINED = 10
"""The paper scores this many cells as one sequence."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Reconstructed cells."""

    tokens: np.ndarray
    """As in :class:`Ranked`."""
    indptr: np.ndarray
    rank: np.ndarray
    """``(n_input_tokens,)`` float32, reconstructed rank of each target, from 1; NaN elsewhere, and
    for targets that are missing."""
    likely: np.ndarray
    """``(n_input_tokens,)`` float32, 1 or 0: whether a hidden gene is among the most likely for its
    position; NaN if it was not hidden."""

    @classmethod
    def of(
        cls, cells: Sequence[np.ndarray], rank: np.ndarray, likely: np.ndarray
    ) -> Reconstruction:
        """Make it from the tokens of each cell, and `rank` and `likely` of the input tokens."""
        joined = Ranked.of(cells)
        return cls(joined.tokens, joined.indptr, rank.astype(np.float32), likely.astype(np.float32))

    @classmethod
    def with_ranks(
        cls, ranked: Ranked, cells: Sequence[np.ndarray], targets: np.ndarray
    ) -> Reconstruction:
        """Make it from the tokens of each cell; targets get their rank in these."""
        parts = [ranks_in(ranked.of_cell(i), cell) for i, cell in enumerate(cells)]
        rank = np.where(targets, np.concatenate([*parts, np.empty(0)]), np.nan)
        return cls.of(cells, rank, np.full(len(targets), np.nan))

    def cell(self, i: int) -> np.ndarray:
        """Return the tokens of one reconstructed cell."""
        return self.tokens[self.indptr[i] : self.indptr[i + 1]]


def score(ranked: Ranked, rebuilt: Reconstruction, targets: np.ndarray) -> dict[str, np.ndarray]:
    """Score each cell; float32, NaN for cells without genes.

    exact_match
        1 if the reconstructed cell is the input, else 0.
    levenshtein, nld
        Edit distance; one minus edit distance over the longer length (the paper's NLD).
    bleu
        See :func:`bleu`.
    spearman
        Correlation of the ranks of the targets that were found.
    recall
        Fraction of the targets that were found, at any rank.
    recall_50
        Fraction of the hidden genes that are among the 50 most likely for their position.
    """
    out = {name: np.full(ranked.n_cells, np.nan, np.float32) for name in SCORES}
    for i in np.flatnonzero(ranked.lengths).tolist():
        part = slice(ranked.indptr[i], ranked.indptr[i + 1])
        truth, guess, own = ranked.tokens[part], rebuilt.cell(i), targets[part]
        rank = rebuilt.rank[part][own]
        found = ~np.isnan(rank)
        edits = levenshtein(truth, guess)
        out["exact_match"][i] = edits == 0
        out["levenshtein"][i] = edits
        out["nld"][i] = 1 - edits / max(len(truth), len(guess))
        out["bleu"][i] = bleu(truth, guess)
        out["spearman"][i] = spearman(np.flatnonzero(own)[found], rank[found])
        if own.any():
            out["recall"][i] = np.isin(truth[own], guess).mean()
            out["recall_50"][i] = rebuilt.likely[part][own].mean()
    return out


def score_joined(ranked: Ranked, rebuilt: Reconstruction) -> dict[str, float]:
    """Return mean scores of ten cells at a time as one sequence, as in the paper."""
    edits, bleus = [], []
    for first in range(0, ranked.n_cells - JOINED + 1, JOINED):
        cells = slice(first, first + JOINED)
        truth = ranked.tokens[ranked.indptr[cells.start] : ranked.indptr[cells.stop]]
        guess = rebuilt.tokens[rebuilt.indptr[cells.start] : rebuilt.indptr[cells.stop]]
        edits.append(levenshtein(truth, guess))
        bleus.append(bleu(truth, guess))
    if not edits:
        return {"levenshtein_10": float("nan"), "bleu_10": float("nan")}
    return {"levenshtein_10": float(np.mean(edits)), "bleu_10": float(np.mean(bleus))}


def choose_hidden(ranked: Ranked, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Mark a random fraction of each cell's genes, at least one."""
    hidden = np.zeros(len(ranked.tokens), dtype=bool)
    for start, n in zip(ranked.indptr, ranked.lengths, strict=False):
        if n:
            hidden[start + rng.choice(n, max(1, round(fraction * n)), replace=False)] = True
    return hidden


def after_prefix(ranked: Ranked, fraction: float) -> np.ndarray:
    """Mark all genes except the first fraction of each cell, at least one."""
    given = np.maximum(1, np.round(fraction * ranked.lengths))
    return ranked.rank >= np.repeat(given, ranked.lengths)


def commonest(probability: np.ndarray) -> np.ndarray:
    """Return as many columns as rows: those with the largest sums, unordered."""
    n = len(probability)
    return np.argpartition(-probability.sum(0), n - 1)[:n]


def assign(probability: np.ndarray) -> np.ndarray:
    """Assign one gene (column) to each position (row), with the most expected hits."""
    return linear_sum_assignment(probability, maximize=True)[1]


def mean_ranking_hidden(
    ranked: Ranked, hidden: np.ndarray, measured: np.ndarray, ranking: MeanRanking
) -> Reconstruction:
    """Reconstruct hidden genes from the mean ranking of the measured genes."""
    candidate = np.zeros(len(ranking.cells), dtype=bool)
    candidate[measured - FIRST_GENE] = True
    rank = np.full(len(hidden), np.nan)
    likely = np.full(len(hidden), np.nan)
    cells = []
    for i in range(ranked.n_cells):
        part = slice(ranked.indptr[i], ranked.indptr[i + 1])
        truth, length = ranked.tokens[part], ranked.lengths[i]
        places = np.flatnonzero(hidden[part])
        gene = truth[places] - FIRST_GENE
        scores = ranking.scores((places + 0.5) / max(1, length))
        scores[:, ~candidate] = -np.inf
        scores[:, truth[~hidden[part]] - FIRST_GENE] = -np.inf
        own = scores[np.arange(len(gene)), gene]
        likely[part][hidden[part]] = (scores > own[:, None]).sum(1) < LIKELY
        scores = softmax(scores, axis=1)
        chosen = commonest(scores)
        cell = truth.copy()
        cell[places] = chosen[assign(scores[:, chosen])] + FIRST_GENE
        cells.append(cell)
        rank[part][hidden[part]] = ranking.mean[gene] * length + 0.5
    return Reconstruction.of(cells, rank, likely)


def mean_ranking_after(
    ranked: Ranked, targets: np.ndarray, measured: np.ndarray, ranking: MeanRanking
) -> Reconstruction:
    """Continue each prefix with the most common measured genes, by mean rank."""
    cells, order = [], ranking.order[np.isin(ranking.order, measured)]
    for i in range(ranked.n_cells):
        part = slice(ranked.indptr[i], ranked.indptr[i + 1])
        given = ranked.tokens[part][~targets[part]]
        rest = order[~np.isin(order, given)][: ranked.lengths[i] - len(given)]
        rest = rest[np.argsort(ranking.mean[rest - FIRST_GENE], kind="stable")]
        cells.append(np.concatenate([given, rest]))
    return Reconstruction.with_ranks(ranked, cells, targets)


def copy_given(ranked: Ranked, targets: np.ndarray) -> Reconstruction:
    """Return the given genes only."""
    parts = np.split(targets, ranked.indptr[1:-1])
    cells = [ranked.of_cell(i)[~own] for i, own in enumerate(parts)]
    return Reconstruction.with_ranks(ranked, cells, targets)


def copy_all(ranked: Ranked, *, moved: bool) -> Reconstruction:
    """Return the input; if `moved`, one rank up, as by a model that predicts the next gene."""
    targets = np.ones(len(ranked.tokens), dtype=bool)
    cells = np.split(ranked.tokens, ranked.indptr[1:-1])
    if moved:  # the last gene has no next one, and is repeated
        cells = [np.append(cell[1:], cell[-1:]) for cell in cells]
    return Reconstruction.with_ranks(ranked, cells, targets)
