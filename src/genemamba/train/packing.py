"""Views side by side in rows, so that next to nothing is padding.

Every view is a segment of its own, and what stands beside a segment cannot change it.

Shapes: R rows, L tokens of a row, D model width, S views.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from genemamba.tokens import FIRST_GENE, PAD, Vocabulary
from genemamba.train.views import Views


class Batch(NamedTuple):
    """What the model reads at once, and what it is asked.

    ``ids`` is the input; ``genes`` says which gene stands at each place, hidden or not; ``asked``
    the places at which a gene is to be named; ``segment`` the view of each place, -1 at the end of
    rows. All are R × L. Of `n_views`, the first half are first views of all cells. ``label`` has
    the label of each view, -1 for none; ``measured``, sets × genes, the genes that could have been
    seen in all views of a set. ``profile``, S × genes, is what each view expresses in units of the
    genes' medians: shares, which sum to 1.
    """

    ids: Tensor
    genes: Tensor
    asked: Tensor
    segment: Tensor
    n_views: int
    label: Tensor
    measured: Tensor
    profile: Tensor | None = None

    @property
    def set_of(self) -> Tensor:
        """The set of views of each place, R × L."""
        of_set = self.n_views // len(self.measured)
        return (self.segment.clamp(min=0) // max(1, of_set)).clamp(max=len(self.measured) - 1)


def first_fit(lengths: np.ndarray, row: int) -> tuple[np.ndarray, int]:
    """Find a place for each view: the longest first, each in the first row with room for it.

    Returns
    -------
    Where each view begins in the rows laid end to end, and the number of rows.
    """
    begins = np.zeros(len(lengths), dtype=np.int64)
    room = np.zeros(0, dtype=np.int64)
    for view in np.argsort(-lengths, kind="stable").tolist():
        fits = room >= lengths[view]
        if not fits.any():
            room = np.append(room, row)
            fits = np.append(fits, True)
        at = int(np.argmax(fits))
        begins[view] = at * row + row - room[at]
        room[at] -= lengths[view]
    return begins, max(1, len(room))


def make_batch(
    views: Views,
    vocab: Vocabulary,
    rng: np.random.Generator,
    *,
    row: int,
    ask: float,
    hide: bool,
    profile: bool = False,
    label: np.ndarray | None = None,
) -> Batch:
    """Pack views into rows, choose a share of places to ask for, and hide these if wished.

    A gene that not all views of its set measure is never asked for.
    """
    rankings = views.rankings
    lengths = np.array([len(view) for view in rankings])
    begins, rows = first_fit(lengths, row)
    tokens = np.concatenate(rankings)
    asked = rng.random(len(tokens)) < ask
    of_set = max(1, len(rankings) // len(views.measured))
    which = np.minimum(
        np.repeat(np.arange(len(rankings)), lengths) // of_set, len(views.measured) - 1
    )
    asked &= views.measured[which, tokens - FIRST_GENE]
    within = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    place = np.repeat(begins, lengths) + within

    def laid(values: np.ndarray, otherwise: int) -> np.ndarray:
        out = np.full(rows * row, otherwise, dtype=values.dtype)
        out[place] = values
        return out.reshape(rows, row)

    tokens = tokens.astype(np.int64)
    shown = np.where(asked, vocab.special("[MASK]"), tokens) if hide else tokens
    number = np.repeat(np.arange(len(rankings)), lengths)
    return Batch(
        ids=torch.from_numpy(laid(shown, PAD)),
        genes=torch.from_numpy(laid(tokens, PAD)),
        asked=torch.from_numpy(laid(asked, False)),
        segment=torch.from_numpy(laid(number, -1)),
        n_views=len(rankings),
        label=torch.from_numpy(np.full(len(rankings), -1) if label is None else label),
        measured=torch.from_numpy(views.measured),
        profile=_profile(views.expression) if profile else None,
    )


def _profile(expression: sparse.csr_matrix) -> Tensor:
    total = np.maximum(expression.sum(axis=1).A1, 1e-9)
    shares = sparse.diags(1 / total, format="csr") @ expression
    return torch.from_numpy(shares.astype(np.float32).toarray())
