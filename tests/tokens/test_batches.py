from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genemamba.tokens import PAD, Ranked, length_batches, pack, pad


def make(lengths: list[int]) -> Ranked:
    indptr = np.append(0, np.cumsum(lengths, dtype=np.int64))
    tokens = np.arange(2, 2 + indptr[-1], dtype=np.int32)
    return Ranked(tokens, indptr, np.zeros(len(lengths)), np.zeros(len(lengths)))


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 300), st.integers(1, 16))
def test_each_cell_once_longest_first_within_the_limit(
    lengths: list[int], limit: int, multiple: int
) -> None:
    size = np.array(lengths, dtype=np.int64)
    batches = length_batches(size, max_tokens_per_batch=limit, multiple=multiple)
    cells = [int(cell) for batch in batches for cell in batch]
    assert cells == sorted(np.flatnonzero(size).tolist(), key=lambda cell: -lengths[cell])
    ranked = make(lengths)
    for batch in batches:
        ids, own = pad(ranked, batch, multiple=multiple)
        assert ids.size <= limit or len(batch) == 1
        assert ids.shape[1] % multiple == 0
        assert own.tolist() == size[batch].tolist()
        for row, cell in zip(ids, batch, strict=True):
            start, stop = ranked.indptr[cell], ranked.indptr[cell + 1]
            assert row[: stop - start].tolist() == ranked.tokens[start:stop].tolist()
            assert (row[stop - start :] == PAD).all()


def test_pad_shapes_and_dtypes() -> None:
    ids, lengths = pad(make([2, 0, 3]), np.array([1, 2, 0]), multiple=4)
    assert (ids.dtype, lengths.dtype) == (np.int64, np.int64)
    assert ids.tolist() == [[1, 1, 1, 1], [4, 5, 6, 1], [2, 3, 1, 1]]
    assert lengths.tolist() == [0, 3, 2]
    assert pad(make([2]), np.array([], dtype=int), multiple=4)[0].shape == (0, 0)


@given(st.lists(st.integers(0, 50), max_size=80), st.integers(1, 120))
def test_rows_hold_each_cell_once_and_no_two_fit_in_one(lengths: list[int], row: int) -> None:
    size = np.array(lengths, dtype=np.int64)
    rows = pack(size, row)
    cells = [int(cell) for own in rows for cell in own]
    assert sorted(cells) == np.flatnonzero(size).tolist()
    filled = [int(size[own].sum()) for own in rows]
    assert all(n <= row or len(own) == 1 for n, own in zip(filled, rows, strict=True))
    longest = [int(size[own].max()) for own in rows]
    assert longest == sorted(longest, reverse=True)
    for n, later in zip(filled, rows[1:], strict=False):  # nothing later would have fitted
        assert n + int(size[later].min()) > row
