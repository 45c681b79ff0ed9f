"""Rebuilt cells: what came out, how it is scored, and what needs no model to come out.

Of some genes of a cell it is asked which they are and where they stand: of the hidden ones, of
those after a prefix, or of all. What is not asked was given.
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
"""A hidden gene counts as found if it is among so many likeliest for its place."""
SCORES = ("exact_match", "levenshtein", "nld", "bleu", "spearman", "recall", "recall_50")
JOINED = 10
"""The paper scores so many cells as one sequence."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Cells as they were rebuilt.

    Attributes
    ----------
    tokens, indptr
        The rebuilt cells, one after the other, as in :class:`Ranked`.
    rank
        ``(n_input_tokens,)`` float32: where each gene of the input came to stand, from 1; NaN where
        it was given or is missing.
    likely
        ``(n_input_tokens,)`` float32, 1 or 0: whether a hidden gene is among the likeliest for its
        place; NaN where it was not hidden.
    """

    tokens: np.ndarray
    indptr: np.ndarray
    rank: np.ndarray
    likely: np.ndarray

    def cell(self, i: int) -> np.ndarray:
        """Tokens of one rebuilt cell."""
        return self.tokens[self.indptr[i] : self.indptr[i + 1]]


def join(
    ranked: Ranked, cells: Sequence[np.ndarray], rank: np.ndarray, likely: np.ndarray
) -> Reconstruction:
    """Put rebuilt cells together; `rank` and `likely` go with the tokens of `ranked`."""
    indptr = np.append(0, np.cumsum([len(cell) for cell in cells])).astype(np.int64)
    tokens = np.concatenate([*cells, np.empty(0, np.int32)]).astype(np.int32)
    return Reconstruction(tokens, indptr, rank.astype(np.float32), likely.astype(np.float32))


def ranked_where_they_stand(
    ranked: Ranked, cells: Sequence[np.ndarray], asked: np.ndarray
) -> Reconstruction:
    """Put rebuilt cells together; genes asked for have the rank at which they stand."""
    rank = np.full(len(asked), np.nan)
    for i, cell in enumerate(cells):
        part = slice(ranked.indptr[i], ranked.indptr[i + 1])
        rank[part] = np.where(asked[part], ranks_in(ranked.tokens[part], cell), np.nan)
    return join(ranked, cells, rank, np.full(len(asked), np.nan))


def score(ranked: Ranked, rebuilt: Reconstruction, asked: np.ndarray) -> dict[str, np.ndarray]:
    """Score every cell; float32, NaN for cells without genes.

    exact_match
        1 if the rebuilt cell is the input, else 0.
    levenshtein, nld
        Edits between them; one minus edits over the longer length (the paper's NLD).
    bleu
        See :func:`bleu`.
    spearman
        Of the ranks of the genes that were asked for and came out.
    recall
        Share of the genes asked for that came out, wherever.
    recall_50
        Share of the hidden genes among the likeliest 50 for their place.
    """
    out = {name: np.full(ranked.n_cells, np.nan, np.float32) for name in SCORES}
    for i in np.flatnonzero(ranked.lengths).tolist():
        part = slice(ranked.indptr[i], ranked.indptr[i + 1])
        truth, guess = ranked.tokens[part], rebuilt.cell(i)
        rank = rebuilt.rank[part][asked[part]]
        came = ~np.isnan(rank)
        edits = levenshtein(truth, guess)
        out["exact_match"][i] = edits == 0
        out["levenshtein"][i] = edits
        out["nld"][i] = 1 - edits / max(len(truth), len(guess))
        out["bleu"][i] = bleu(truth, guess)
        out["spearman"][i] = spearman(np.flatnonzero(asked[part])[came], rank[came])
        if asked[part].any():
            out["recall"][i] = np.isin(truth[asked[part]], guess).mean()
            out["recall_50"][i] = rebuilt.likely[part][asked[part]].mean()
    return out


def score_joined(ranked: Ranked, rebuilt: Reconstruction) -> dict[str, float]:
    """Score ten cells at a time as one sequence, as the paper does; the mean over such tens."""
    edits, blues = [], []
    for first in range(0, ranked.n_cells - JOINED + 1, JOINED):
        cells = slice(first, first + JOINED)
        truth = ranked.tokens[ranked.indptr[cells.start] : ranked.indptr[cells.stop]]
        guess = rebuilt.tokens[rebuilt.indptr[cells.start] : rebuilt.indptr[cells.stop]]
        edits.append(levenshtein(truth, guess))
        blues.append(bleu(truth, guess))
    if not edits:
        return {"levenshtein_10": float("nan"), "bleu_10": float("nan")}
    return {"levenshtein_10": float(np.mean(edits)), "bleu_10": float(np.mean(blues))}


def choose_hidden(ranked: Ranked, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Choose a share of each cell's genes, one at least; True where a token is to be hidden."""
    hidden = np.zeros(len(ranked.tokens), dtype=bool)
    for start, n in zip(ranked.indptr, ranked.lengths, strict=False):
        if n:
            hidden[start + rng.choice(n, max(1, round(fraction * n)), replace=False)] = True
    return hidden


def after_prefix(ranked: Ranked, fraction: float) -> np.ndarray:
    """Mark all genes but the first share of each cell; the first gene is always given."""
    given = np.maximum(1, np.round(fraction * ranked.lengths))
    return ranked.rank >= np.repeat(given, ranked.lengths)


def commonest(probability: np.ndarray) -> np.ndarray:
    """Return as many columns as there are rows: those of the largest sum, in no order."""
    n = len(probability)
    return np.argpartition(-probability.sum(0), n - 1)[:n]


def put(probability: np.ndarray) -> np.ndarray:
    """Give each place (row) one gene (column) so that most are expected to be right."""
    return linear_sum_assignment(probability, maximize=True)[1]


def mean_ranking_hidden(
    ranked: Ranked, hidden: np.ndarray, measured: np.ndarray, ranking: MeanRanking
) -> Reconstruction:
    """Rebuild hidden genes from how often and where the measured genes stand in other cells."""
    candidate = np.zeros(len(ranking.cells), dtype=bool)
    candidate[measured - FIRST_GENE] = True
    rank = np.full(len(hidden), np.nan)
    likely = np.full(len(hidden), np.nan)
    cells = []
    for i in range(ranked.n_cells):
        part = slice(ranked.indptr[i], ranked.indptr[i + 1])
        truth, length = ranked.tokens[part], ranked.lengths[i]
        gene = truth[hidden[part]] - FIRST_GENE
        places = np.flatnonzero(hidden[part])
        scores = ranking.scores((places + 0.5) / max(1, length))
        scores[:, ~candidate] = -np.inf
        scores[:, truth[~hidden[part]] - FIRST_GENE] = -np.inf
        own = scores[np.arange(len(gene)), gene]
        likely[part][hidden[part]] = (scores > own[:, None]).sum(1) < LIKELY
        scores = softmax(scores, axis=1)
        said = commonest(scores)
        cell = truth.copy()
        cell[places] = said[put(scores[:, said])] + FIRST_GENE
        cells.append(cell)
        rank[part][hidden[part]] = ranking.mean[gene] * length + 0.5
    return join(ranked, cells, rank, likely)


def mean_ranking_after(
    ranked: Ranked, asked: np.ndarray, measured: np.ndarray, ranking: MeanRanking
) -> Reconstruction:
    """Go on after what is given with the commonest measured genes, at their mean places."""
    cells, order = [], ranking.order[np.isin(ranking.order, measured)]
    for i in range(ranked.n_cells):
        part = slice(ranked.indptr[i], ranked.indptr[i + 1])
        given = ranked.tokens[part][~asked[part]]
        rest = order[~np.isin(order, given)][: ranked.lengths[i] - len(given)]
        rest = rest[np.argsort(ranking.mean[rest - FIRST_GENE], kind="stable")]
        cells.append(np.concatenate([given, rest]))
    return ranked_where_they_stand(ranked, cells, asked)


def copy_given(ranked: Ranked, asked: np.ndarray) -> Reconstruction:
    """Give back what was given, and nothing else."""
    cells = [
        ranked.tokens[a:b][~asked[a:b]]
        for a, b in zip(ranked.indptr[:-1], ranked.indptr[1:], strict=True)
    ]
    return ranked_where_they_stand(ranked, cells, asked)


def copy_all(ranked: Ranked, *, moved: bool) -> Reconstruction:
    """Give back the input; moved up by one place, as by a model that names the next gene."""
    asked = np.ones(len(ranked.tokens), dtype=bool)
    cells = np.split(ranked.tokens, ranked.indptr[1:-1])
    if moved:  # the last place has no next gene and repeats the last
        cells = [np.append(cell[1:], cell[-1:]) for cell in cells]
    return ranked_where_they_stand(ranked, cells, asked)
