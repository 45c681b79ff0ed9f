"""Views packed into rows, so that there is almost no padding.

Every view is a segment; views in one row cannot influence each other.

Shapes: R rows, L tokens, D model width, S views.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from genemamba.tokens import FIRST_GENE, PAD, Vocabulary, pack
from genemamba.train.views import Views


class ViewBatch(NamedTuple):
    """The input of the model and the targets of the objectives.

    Of `n_views` views, the first half are first views of all cells.
    """

    ids: Tensor
    """R × L, the input."""
    genes: Tensor
    """R × L, the gene at each position, hidden or not."""
    target_mask: Tensor
    """R × L, bool, positions at which a gene is predicted."""
    segment: Tensor
    """R × L, the view of each position; -1 for padding."""
    n_views: int
    label: Tensor
    """S, the label of each view; -1 for none."""
    measured: Tensor
    """Sets × genes, bool, the genes measured in all views of a set."""
    profile: Tensor | None = None
    """S × genes, expression of each view in units of the genes' medians; rows sum to 1."""

    @property
    def set_of(self) -> Tensor:
        """The set of views of each position, R × L."""
        of_set = self.n_views // len(self.measured)
        return (self.segment.clamp(min=0) // max(1, of_set)).clamp(max=len(self.measured) - 1)


def first_fit(lengths: np.ndarray, row: int) -> tuple[np.ndarray, int]:
    """Return where each view begins in the rows laid end to end, and the number of rows."""
    begins = np.zeros(len(lengths), dtype=np.int64)
    rows = pack(lengths, row)
    for number, views in enumerate(rows):
        begins[views] = number * row + np.cumsum(lengths[views]) - lengths[views]
    return begins, max(1, len(rows))


def make_batch(
    views: Views,
    vocab: Vocabulary,
    rng: np.random.Generator,
    *,
    row: int,
    target_fraction: float,
    hide: bool,
    profile: bool = False,
    label: np.ndarray | None = None,
) -> ViewBatch:
    """Pack views into rows; choose positions to predict, and hide these if `hide`.

    A gene that not all views of its set measure is never predicted.
    """
    rankings = views.rankings
    lengths = np.array([len(view) for view in rankings])
    begins, rows = first_fit(lengths, row)
    tokens = np.concatenate(rankings)
    target_mask = rng.random(len(tokens)) < target_fraction
    number = np.repeat(np.arange(len(rankings)), lengths)
    of_set = max(1, len(rankings) // len(views.measured))
    own_set = np.minimum(number // of_set, len(views.measured) - 1)
    target_mask &= views.measured[own_set, tokens - FIRST_GENE]
    within = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    place = np.repeat(begins, lengths) + within

    def laid(values: np.ndarray, otherwise: int) -> Tensor:
        out = np.full(rows * row, otherwise, dtype=values.dtype)
        out[place] = values
        return torch.from_numpy(out.reshape(rows, row))

    tokens = tokens.astype(np.int64)
    shown = np.where(target_mask, vocab.special("[MASK]"), tokens) if hide else tokens
    return ViewBatch(
        ids=laid(shown, PAD),
        genes=laid(tokens, PAD),
        target_mask=laid(target_mask, False),
        segment=laid(number, -1),
        n_views=len(rankings),
        label=torch.from_numpy(np.full(len(rankings), -1) if label is None else label),
        measured=torch.from_numpy(views.measured),
        profile=_profile(views.expression) if profile else None,
    )


def _profile(expression: sparse.csr_matrix) -> Tensor:
    total = np.maximum(expression.sum(axis=1).A1, 1e-9)
    shares = sparse.diags(1 / total, format="csr") @ expression
    return torch.from_numpy(shares.astype(np.float32).toarray())
