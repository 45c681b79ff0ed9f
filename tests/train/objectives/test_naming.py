"""Losses of objectives that name genes, beside losses worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from genemamba.model import GeneMamba
from genemamba.train.objectives import NamesGenes
from genemamba.train.objectives.masked import Masked
from genemamba.train.objectives.next_gene import NextGene
from genemamba.train.objectives.two_direction import TwoDirection
from genemamba.train.packing import Batch

NewBatch = Callable[..., Batch]
VIEWS = [np.array([5, 9, 30, 7]), np.array([100, 6, 44])]


def of_view(model: GeneMamba, states: torch.Tensor, places: list[int], genes: list[int]) -> float:
    likely = model.lm_head(states).log_softmax(-1)
    return -sum(float(likely[p, g]) for p, g in zip(places, genes, strict=True))


@torch.no_grad()
def test_each_loss_is_the_mean_over_what_is_asked(
    small_model: GeneMamba, new_batch: NewBatch
) -> None:
    """Every view is read alone and its genes are named one by one."""
    model = small_model.double()
    batch = new_batch(views=VIEWS, ask=1.0, row=8)
    states = model(batch.ids, batch.segment)
    nexts, both, masked = 0.0, 0.0, 0.0
    for view in VIEWS:
        n, ids = len(view), torch.from_numpy(view)[None]
        alone = model(ids)[0]
        masked += of_view(model, alone, list(range(n)), view.tolist())
        nexts += of_view(model, alone, list(range(n - 1)), view[1:].tolist())
        forwards, _ = model.read_apart(ids)
        flipped, _ = model.read_apart(ids.flip(1))
        both += of_view(model, forwards[0], list(range(n - 1)), view[1:].tolist())
        both += of_view(model, flipped[0], list(range(n - 1)), view[::-1][1:].tolist())
    for objective, total, n in ((Masked(), masked, 7), (NextGene(), nexts, 5),
                                (TwoDirection(), both, 10)):  # fmt: skip
        found = objective(model, batch, states)
        assert float(found) == pytest.approx(total / n, abs=1e-9)
        assert float(objective.places(model, batch, states).sum()) == pytest.approx(total)


@pytest.mark.parametrize("objective", [Masked(), NextGene(), TwoDirection()])
def test_without_a_question_the_loss_is_zero(
    small_model: GeneMamba, new_batch: NewBatch, objective: NamesGenes
) -> None:
    batch = new_batch(ask=0.0)
    loss = objective(small_model, batch, small_model(batch.ids, batch.segment))
    loss.backward()
    assert loss == 0


@torch.no_grad()
@pytest.mark.parametrize("merge", ["mean", "gate", "concat", "sum"])
def test_readings_apart_are_those_of_a_model_that_reads_one_way(
    new_model: Callable[..., GeneMamba], pbmc, new_batch: NewBatch, merge: str
) -> None:
    both = new_model(pbmc.var_names, merge=merge).double()
    one_way = new_model(pbmc.var_names, merge=merge, bidirectional=False).double()
    one_way.load_state_dict(both.state_dict())
    batch = new_batch()
    forwards, backwards = both.read_apart(batch.ids, batch.segment)
    torch.testing.assert_close(forwards, one_way(batch.ids, batch.segment))
    flipped = one_way(batch.ids.flip(1), batch.segment.flip(1)).flip(1)
    torch.testing.assert_close(backwards, flipped)
