"""Cells side by side in rows: what a model reads at once.

Every cell is a segment of its own, and what stands beside a segment cannot change it.

Shapes: S cells, R rows, L tokens of a row, D model width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genemamba.tokens import PAD, Ranked


@dataclass(frozen=True, eq=False)
class Batch:
    """Cells in rows, and where they stand.

    Parameters
    ----------
    ids
        R × L int64 tokens.
    segment
        R × L int64, the cell of each token, from 0; -1 where there is none.
    begin
        S int64, where each cell begins in the rows laid end to end.
    lengths
        S int64, tokens of each cell.
    alone
        Whether every row is one whole cell; a GPU would have to be waited for to find out.
    """

    ids: Tensor
    segment: Tensor
    begin: Tensor
    lengths: Tensor
    alone: bool

    @classmethod
    def padded(cls, ids_BL: Tensor, lengths_B: Tensor) -> Batch:
        """Take rows that hold one cell each and are filled up at the end."""
        n_cells, length = ids_BL.shape
        position = torch.arange(length, device=ids_BL.device)
        number = torch.arange(n_cells, device=ids_BL.device)
        segment = torch.where(position < lengths_B[:, None], number[:, None], -1)
        return cls(ids_BL, segment, number * length, lengths_B, bool((lengths_B == length).all()))

    @classmethod
    def packed(
        cls, ranked: Ranked, rows: list[np.ndarray], *, lead: int | None = None, multiple: int = 64
    ) -> Batch:
        """Lay cells out, one array of them a row, each after the token `lead` if one is given.

        Rows are filled up to a multiple, so that few lengths occur: code is prepared for each.
        """
        cells, extra = np.concatenate(rows), int(lead is not None)
        lengths = ranked.lengths[cells] + extra
        row = np.repeat(np.arange(len(rows)), [len(own) for own in rows])
        filled = np.bincount(row, lengths, minlength=len(rows)).astype(np.int64)
        length = -(-int(filled.max()) // multiple) * multiple
        offset = np.cumsum(lengths) - lengths
        begin = offset + (row * length - np.repeat(np.cumsum(filled) - filled, np.bincount(row)))
        place = np.arange(lengths.sum()) + np.repeat(begin - offset, lengths)
        ids = np.full(len(rows) * length, PAD, dtype=np.int64)
        segment = np.full(len(rows) * length, -1, dtype=np.int64)
        segment[place] = np.repeat(np.arange(len(cells)), lengths)
        if lead is not None:
            ids[begin] = lead
            place = np.delete(place, offset)
        ids[place] = ranked.take(cells).tokens
        alone = len(cells) == len(rows) and bool((filled == length).all())
        as_rows, tensor = (len(rows), length), torch.from_numpy
        ids, segment = ids.reshape(as_rows), segment.reshape(as_rows)
        return cls(tensor(ids), tensor(segment), tensor(begin), tensor(lengths), alone)

    def to(self, device: str) -> Batch:
        """Copy it to a device."""
        return self._each(lambda t: t.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """Copy it to memory from which a GPU reads by itself."""
        return self._each(Tensor.pin_memory)

    @property
    def borders(self) -> Tensor | None:
        """The segments, if any row holds anything but one whole cell."""
        return None if self.alone else self.segment

    def of(self, tokens: Tensor, cell: int) -> Tensor:
        """Return what belongs to a cell, of R × L × …."""
        begin = int(self.begin[cell])
        return tokens.flatten(0, 1)[begin : begin + int(self.lengths[cell])]

    def first(self, states_RLD: Tensor) -> Tensor:
        """State of every cell's first token, S × D float32."""
        return states_RLD.flatten(0, 1)[self.begin].float()

    def mean(self, states_RLD: Tensor) -> Tensor:
        """Mean state of every cell, S × D float32."""
        return pool(states_RLD, self.segment, len(self.begin)).float()

    def _each(self, f: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(f(self.ids), f(self.segment), f(self.begin), f(self.lengths), self.alone)


def pool(states_RLD: Tensor, segment_RL: Tensor, n: int) -> Tensor:
    """Mean state of every segment, `n` × D; 0 for a segment without tokens."""
    states, own = wide(states_RLD.flatten(0, 1)), segment_RL.flatten()
    own = torch.where(own < 0, n, own)  # what is of no segment goes into a row that is left out
    total = states.new_zeros(n + 1, states.shape[1]).index_add(0, own, states)[:n]
    count = states.new_zeros(n + 1).index_add(0, own, states.new_ones(len(own)))[:n]
    return total / count.clamp(min=1)[:, None]


def wide(t: Tensor) -> Tensor:
    """Return at least float32: sums and exponentials want more digits than bfloat16 has."""
    return t.to(torch.promote_types(t.dtype, torch.float32))
