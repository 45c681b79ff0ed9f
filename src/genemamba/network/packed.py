"""Cells packed into rows: what a model reads at once.

Every cell is a segment of its own, and tokens of other segments cannot change it.

Shapes: S cells, R rows, L tokens of a row, D model width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genemamba.tokens import PAD, Ranked

_MULTIPLE = 64  # rows are padded to it, so that code is compiled for few lengths


@dataclass(frozen=True, eq=False)
class PackedCells:
    """Cells in rows, and where each begins."""

    ids: Tensor
    """R × L int64 tokens."""
    segment: Tensor
    """R × L int64, the cell of each token, from 0; -1 for padding."""
    begin: Tensor
    """S int64, where each cell begins in the rows laid end to end."""
    lengths: Tensor
    """S int64, tokens of each cell."""
    alone: bool
    """Whether every row is one whole cell; known here, because asking a GPU would wait for it."""

    @classmethod
    def padded(cls, ids_BL: Tensor, lengths_B: Tensor) -> PackedCells:
        """Take rows of one cell each, padded at the end."""
        n_cells, length = ids_BL.shape
        position = torch.arange(length, device=ids_BL.device)
        number = torch.arange(n_cells, device=ids_BL.device)
        segment = torch.where(position < lengths_B[:, None], number[:, None], -1)
        return cls(ids_BL, segment, number * length, lengths_B, bool((lengths_B == length).all()))

    @classmethod
    def pack(
        cls, ranked: Ranked, rows: list[np.ndarray], *, prefix_token: int | None = None
    ) -> PackedCells:
        """Put the cells of each array into one row, each after `prefix_token` if there is one."""
        cells, extra = np.concatenate(rows), int(prefix_token is not None)
        lengths = ranked.lengths[cells] + extra
        row = np.repeat(np.arange(len(rows)), [len(own) for own in rows])
        filled = np.bincount(row, lengths, minlength=len(rows)).astype(np.int64)
        length = -(-int(filled.max()) // _MULTIPLE) * _MULTIPLE
        offset = np.cumsum(lengths) - lengths
        begin = offset + (row * length - np.repeat(np.cumsum(filled) - filled, np.bincount(row)))
        place = np.arange(lengths.sum()) + np.repeat(begin - offset, lengths)
        ids = np.full(len(rows) * length, PAD, dtype=np.int64)
        segment = np.full(len(rows) * length, -1, dtype=np.int64)
        segment[place] = np.repeat(np.arange(len(cells)), lengths)
        if prefix_token is not None:
            ids[begin] = prefix_token
            place = np.delete(place, offset)
        ids[place] = ranked.take(cells).tokens
        alone = len(cells) == len(rows) and bool((filled == length).all())
        grid = len(rows), length
        t = torch.from_numpy
        return cls(t(ids.reshape(grid)), t(segment.reshape(grid)), t(begin), t(lengths), alone)

    def to(self, device: str) -> PackedCells:
        """Copy to a device."""
        return self._each(lambda t: t.to(device, non_blocking=True))

    def pinned(self) -> PackedCells:
        """Copy to page-locked memory, which a GPU reads on its own."""
        return self._each(Tensor.pin_memory)

    @property
    def borders(self) -> Tensor | None:
        """The segments, or ``None`` if every row is one whole cell."""
        return None if self.alone else self.segment

    def of(self, tokens: Tensor, cell: int) -> Tensor:
        """Return the part of R × L × … that belongs to a cell."""
        begin = int(self.begin[cell])
        return tokens.flatten(0, 1)[begin : begin + int(self.lengths[cell])]

    def first(self, states_RLD: Tensor) -> Tensor:
        """State of every cell's first token, S × D float32."""
        return states_RLD.flatten(0, 1)[self.begin].float()

    def mean(self, states_RLD: Tensor) -> Tensor:
        """Mean state of every cell, S × D float32."""
        return pool(states_RLD, self.segment, len(self.begin)).float()

    def _each(self, f: Callable[[Tensor], Tensor]) -> PackedCells:
        return PackedCells(f(self.ids), f(self.segment), f(self.begin), f(self.lengths), self.alone)


def pool(states_RLD: Tensor, segment_RL: Tensor, n: int) -> Tensor:
    """Mean state of every segment, `n` × D; 0 for a segment without tokens."""
    states, own = wide(states_RLD.flatten(0, 1)), segment_RL.flatten()
    own = torch.where(own < 0, n, own)  # padding goes into a row that is dropped
    total = states.new_zeros(n + 1, states.shape[1]).index_add(0, own, states)[:n]
    count = states.new_zeros(n + 1).index_add(0, own, states.new_ones(len(own)))[:n]
    return total / count.clamp(min=1)[:, None]


def wide(t: Tensor) -> Tensor:
    """Return at least float32: bfloat16 is too coarse for sums and exponentials."""
    return t.to(torch.promote_types(t.dtype, torch.float32))
