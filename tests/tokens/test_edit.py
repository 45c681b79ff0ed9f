from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genemamba.tokens import Ranked
from genemamba.tokens.edit import cut, delete, put_first

cells_and_genes = st.tuples(
    st.lists(st.lists(st.integers(2, 14), unique=True, max_size=9), max_size=6),
    st.lists(st.integers(2, 16), unique=True, min_size=1, max_size=3),
    st.integers(1, 8),
)


def ranked(cells: list[list[int]]) -> Ranked:
    tokens = np.array([t for cell in cells for t in cell], dtype=np.int32)
    total = np.arange(len(cells), dtype=float) + 1
    return Ranked(tokens, np.append(0, np.cumsum([len(c) for c in cells], dtype=int)), total, total)


def lists(r: Ranked) -> list[list[int]]:
    return [r.tokens[a:b].tolist() for a, b in zip(r.indptr[:-1], r.indptr[1:], strict=True)]


def slow(how: str, cell: list[int], genes: list[int]) -> list[int]:
    rest = [token for token in cell if token not in genes]
    if how == "delete":
        return rest
    return genes + rest if cell else []


@settings(max_examples=200, deadline=None)
@given(cells_and_genes, st.sampled_from(["delete", "put_first"]))
def test_as_lists_edited_cell_by_cell(case, how):
    cells, genes, max_tokens = case
    expected = {
        i: slow(how, cell, genes)[:max_tokens]
        for i, cell in enumerate(cells)
        if slow(how, cell, genes)[:max_tokens] != cell[:max_tokens]
    }
    before = ranked(cells)
    changed, edited = {"delete": delete, "put_first": put_first}[how](before, genes, max_tokens)
    assert changed.tolist() == list(expected)
    assert lists(edited) == list(expected.values())
    assert edited.total.tolist() == [i + 1 for i in expected]
    assert lists(before) == cells


@settings(max_examples=50, deadline=None)
@given(cells_and_genes)
def test_what_always_holds(case):
    cells, genes, max_tokens = case
    whole = ranked(cells)
    assert lists(cut(whole, max_tokens)) == [cell[:max_tokens] for cell in cells]
    assert delete(delete(whole, genes, 99)[1], genes, 99)[0].size == 0
    assert put_first(put_first(whole, genes, 99)[1], genes, 99)[0].size == 0
    changed, edited = put_first(whole, genes, 99)
    untouched = [i for i in range(len(cells)) if i not in changed]
    assert all(cells[i][: len(genes)] == genes or not cells[i] for i in untouched)
    assert lists(Ranked.joined([whole, edited])) == cells + lists(edited)


def test_tokens_from_beyond_the_limit_move_up():
    whole = ranked([[5, 6, 7, 8, 9]])
    assert lists(delete(whole, [5, 7], 3)[1]) == [[6, 8, 9]]
    assert delete(whole, [8], 3)[0].size == 0  # the model never read it


@pytest.mark.parametrize("edit", [delete, put_first])
def test_nothing_in_nothing_out(edit):
    assert edit(ranked([]), [3], 5)[0].size == 0
    assert lists(edit(ranked([[]]), [3], 5)[1]) == []
