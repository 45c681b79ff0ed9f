"""Cells packed into rows are read as if each stood alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genemamba.network import GeneMamba
from genemamba.network.packed import PackedCells
from genemamba.tokens import FIRST_GENE, PAD, Ranked

from .test_genemamba import random_cells

ROWS = [np.array([4, 0]), np.array([2]), np.array([1, 3, 5])]


@pytest.fixture
def ranked() -> Ranked:
    return random_cells(6, 40)


@pytest.mark.parametrize("prefix", [None, 7])
def test_every_token_stands_in_the_row_of_its_cell(ranked: Ranked, prefix: int | None) -> None:
    batch, extra = (
        PackedCells.pack(ranked, ROWS, prefix_token=prefix),
        [prefix] * (prefix is not None),
    )
    assert batch.ids.shape == batch.segment.shape and batch.ids.shape[1] % 64 == 0
    for k, cell in enumerate(np.concatenate(ROWS)):
        own = ranked.tokens[ranked.indptr[cell] : ranked.indptr[cell + 1]].tolist()
        assert batch.of(batch.ids, k).tolist() == extra + own
        assert (batch.of(batch.segment, k) == k).all()
    begin = (batch.begin // batch.ids.shape[1]).tolist()
    assert begin == [0, 0, 1, 2, 2, 2]
    assert (batch.ids[batch.segment < 0] == PAD).all()
    assert int((batch.segment >= 0).sum()) == int(batch.lengths.sum())


def test_vectors_are_those_of_cells_alone(small_model: GeneMamba, ranked: Ranked) -> None:
    cells = np.concatenate(ROWS)
    with torch.inference_mode():
        for pooling in ("mean", "cls"):
            found = small_model.embed(
                PackedCells.pack(ranked, ROWS, prefix_token=FIRST_GENE), pooling
            )
            alone = [
                small_model.embed(
                    PackedCells.pack(ranked, [cells[[k]]], prefix_token=FIRST_GENE), pooling
                )
                for k in range(6)
            ]
            torch.testing.assert_close(found, torch.cat(alone), rtol=0, atol=1e-5)


def test_rows_of_one_whole_cell_have_no_borders() -> None:
    ids = torch.arange(2, 14).reshape(2, 6)
    assert PackedCells.padded(ids, torch.tensor([6, 6])).borders is None
    padded = PackedCells.padded(ids, torch.tensor([6, 4]))
    assert padded.borders is padded.segment
    assert padded.segment.tolist() == [[0] * 6, [1, 1, 1, 1, -1, -1]]
    states = torch.arange(12.0).reshape(2, 6, 1)
    assert padded.mean(states).tolist() == [[2.5], [7.5]]
    assert padded.first(states).tolist() == [[0.0], [6.0]]
