"""Two views of every cell of a batch, with some genes hidden.

The counts of a cell are split at random into two halves. Of Poisson counts such halves are
independent given the expression, so what they share is biology and not noise. Each half is ranked,
a random stretch of its ranks is thinned to the training length, and a share of its genes hidden.
Or none is hidden, and a share of the places says which gene comes next: the paper's objective.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from genemamba.tokens import FIRST_GENE, PAD, Vocabulary, rank_csr

IGNORE = -100  # what torch's cross entropy skips
Predict = Literal["hidden", "next"]


@dataclass(frozen=True, eq=False)
class Views:
    """Rows of a training step: first views of all cells, then second views."""

    ids: np.ndarray
    """2 cells × length int64, hidden genes replaced by [MASK], padded at the end."""
    lengths: np.ndarray
    """2 cells int64."""
    targets: np.ndarray
    """2 cells × length int64: the gene to name at this place, elsewhere ``IGNORE``."""


def two_views(
    counts: sparse.csr_matrix,
    vocab: Vocabulary,
    rng: np.random.Generator,
    *,
    length: int,
    mask_fraction: float,
    predict: Predict = "hidden",
) -> Views:
    """Split, rank, thin and hide; the same `rng` state gives the same views.

    With ``predict="next"`` nothing is hidden, and `mask_fraction` of the places have the gene after
    them as target. A model that reads both ways has seen it there.
    """
    share = np.repeat(rng.uniform(0.35, 0.65, counts.shape[0]), np.diff(counts.indptr))
    first = rng.binomial(counts.data, share).astype(np.int32)
    rows = [
        row
        for half in (first, counts.data - first)
        for row in _thinned(counts, half, vocab, rng, length)
    ]
    lengths = np.array([len(r) for r in rows])
    ids = np.full((len(rows), length), PAD, dtype=np.int64)
    ids[np.arange(length) < lengths[:, None]] = np.concatenate(rows)
    chosen = rng.random(ids.shape) < mask_fraction
    if predict == "next":
        following = np.pad(ids[:, 1:], ((0, 0), (0, 1)), constant_values=PAD)
        return Views(ids, lengths, np.where(chosen & (following != PAD), following, IGNORE))
    hidden = chosen & (ids != PAD)
    targets = np.where(hidden, ids, IGNORE)
    return Views(np.where(hidden, vocab.special("[MASK]"), ids), lengths, targets)


def _thinned(
    counts: sparse.csr_matrix,
    data: np.ndarray,
    vocab: Vocabulary,
    rng: np.random.Generator,
    length: int,
) -> list[np.ndarray]:
    token = np.arange(vocab.n_genes, dtype=np.int32) + FIRST_GENE
    ranked = rank_csr(counts.indptr, counts.indices, data, token, vocab.median, vocab.n_genes)
    rows = np.split(ranked.tokens, ranked.indptr[1:-1])
    return [thin(row, length, rng) for row in rows]


def thin(row: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Keep `length` genes of a random stretch from the top of a ranking, in their order."""
    if len(row) <= length:
        return row
    stretch = rng.integers(length, len(row) + 1)
    return row[np.sort(rng.choice(stretch, length, replace=False))]
