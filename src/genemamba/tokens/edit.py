"""Edit ranked cells: delete genes, or move them to the top."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .rank import Ranked


def cut(ranked: Ranked, max_tokens: int) -> Ranked:
    """Keep the first `max_tokens` tokens of every cell."""
    return _keep(ranked, np.arange(ranked.n_cells), ranked.rank < max_tokens)


def delete(
    ranked: Ranked, genes: Sequence[int] | np.ndarray, max_tokens: int
) -> tuple[np.ndarray, Ranked]:
    """Delete genes, so that lower ones move up.

    Cells need ranks up to ``max_tokens + len(genes)``. Returns the indices of the cells whose first
    `max_tokens` tokens change, and these cells, edited and cut; their total counts do not change.

    >>> ranked = Ranked.of([np.array([5, 7, 9]), np.array([4])])
    >>> cells, edited = delete(ranked, [7], max_tokens=2)
    >>> cells, edited.tokens
    (array([0]), array([5, 9], dtype=int32))
    """
    hit = np.isin(ranked.tokens, np.asarray(genes, dtype=np.int32))
    cells = np.unique(ranked.cell[hit & (ranked.rank < max_tokens)])
    return cells, cut(_keep(ranked, cells, ~hit), max_tokens)


def put_first(
    ranked: Ranked, genes: Sequence[int] | np.ndarray, max_tokens: int
) -> tuple[np.ndarray, Ranked]:
    """Move genes to the top, or insert them there, in the order given; see :func:`delete`.

    Cells without tokens stay empty.

    >>> ranked = Ranked.of([np.array([5, 7, 9]), np.array([7])])
    >>> cells, edited = put_first(ranked, [7], max_tokens=3)
    >>> cells, edited.tokens
    (array([0]), array([7, 5, 9], dtype=int32))
    """
    front = np.asarray(genes, dtype=np.int32)
    cells = np.flatnonzero((ranked.lengths > 0) & ~begins_with(ranked, front[:max_tokens]))
    rest = _keep(ranked, cells, ~np.isin(ranked.tokens, front))
    starts = rest.indptr + len(front) * np.arange(len(cells) + 1)
    tokens = np.empty(starts[-1], dtype=np.int32)
    head = np.zeros(len(tokens), dtype=bool)
    head[starts[:-1, None] + np.arange(len(front))] = True
    tokens[head], tokens[~head] = np.tile(front, len(cells)), rest.tokens
    return cells, cut(Ranked(tokens, starts, rest.total, rest.known), max_tokens)


def begins_with(ranked: Ranked, front: np.ndarray) -> np.ndarray:
    """Return whether each cell begins with these tokens, in this order."""
    long_enough = ranked.lengths >= len(front)
    same = long_enough.copy()
    place = ranked.indptr[:-1][long_enough][:, None] + np.arange(len(front))
    same[long_enough] = (ranked.tokens[place] == front).all(axis=1)
    return same


def _keep(ranked: Ranked, cells: np.ndarray, kept: np.ndarray) -> Ranked:
    """Return some cells, with the tokens that are `kept`."""
    wanted = np.zeros(ranked.n_cells, dtype=bool)
    wanted[cells] = True
    of = ranked.cell
    kept = kept & wanted[of]
    lengths = np.bincount(of[kept], minlength=ranked.n_cells)[cells]
    indptr = np.append(0, np.cumsum(lengths))
    return Ranked(ranked.tokens[kept], indptr, ranked.total[cells], ranked.known[cells])
