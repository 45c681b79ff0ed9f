"""Losses of objectives that name genes, beside losses worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from genemamba.network import GeneMamba
from genemamba.tokens import FIRST_GENE
from genemamba.train.objectives import PredictsGenes
from genemamba.train.objectives.masked import Masked
from genemamba.train.objectives.next_gene import NextGene
from genemamba.train.packing import ViewBatch

NewBatch = Callable[..., ViewBatch]
VIEWS = [np.array([5, 9, 30, 7]), np.array([100, 6, 44])]


def of_view(model: GeneMamba, states: torch.Tensor, places: list[int], genes: list[int]) -> float:
    known = slice(FIRST_GENE, FIRST_GENE + model.vocab.n_genes)  # no special token is asked for
    likely = torch.full((len(states), len(model.vocab)), -torch.inf, dtype=states.dtype)
    likely[:, known] = model.lm_head(states)[:, known].log_softmax(-1)
    return -sum(float(likely[p, g]) for p, g in zip(places, genes, strict=True))


@torch.no_grad()
def test_each_loss_is_the_mean_over_what_is_asked(
    small_model: GeneMamba, new_batch: NewBatch
) -> None:
    """Every view is read alone and its genes are named one by one."""
    model = small_model.double()
    batch = new_batch(views=VIEWS, target_fraction=1.0, row=8)
    states = model(batch.ids, batch.segment)
    nexts, masked = 0.0, 0.0
    for view in VIEWS:
        n, ids = len(view), torch.from_numpy(view)[None]
        alone = model(ids)[0]
        masked += of_view(model, alone, list(range(n)), view.tolist())
        nexts += of_view(model, alone, list(range(n - 1)), view[1:].tolist())
    for objective, total, n in ((Masked(), masked, 7), (NextGene(), nexts, 5)):
        found = objective(model, batch, states)
        assert float(found) == pytest.approx(total / n, abs=1e-9)
        assert float(objective.places(model, batch, states).sum()) == pytest.approx(total)


@pytest.mark.parametrize("objective", [Masked(), NextGene()])
def test_without_a_question_the_loss_is_zero(
    small_model: GeneMamba, new_batch: NewBatch, objective: PredictsGenes
) -> None:
    batch = new_batch(target_fraction=0.0)
    loss = objective(small_model, batch, small_model(batch.ids, batch.segment))
    loss.backward()
    assert loss == 0


@torch.no_grad()
def test_a_gene_stands_against_those_that_its_set_of_views_measures(
    small_model: GeneMamba, new_batch: NewBatch
) -> None:
    """A gene that was not measured is never asked for, and its likelihood plays no part."""
    model = small_model.double()
    batch = new_batch(views=VIEWS, target_fraction=1.0, row=8)  # a set has one view
    measured = torch.ones_like(batch.measured)
    measured[1, 6:50] = False  # 44 is token 44, gene 42
    asked = (
        batch.target_mask
        & ~((batch.segment == 1) & (batch.genes == 44))
        & ~((batch.segment == 1) & (batch.genes == 6))
    )
    measured[1, 6 - FIRST_GENE] = False
    few = batch._replace(measured=measured, target_mask=asked)
    found = Masked().places(model, few, model(few.ids, few.segment))
    view = torch.from_numpy(VIEWS[1])[None]
    logits = model.lm_head(model(view)[0])[:, FIRST_GENE : FIRST_GENE + model.vocab.n_genes]
    logits[:, ~measured[1]] = -torch.inf
    expected = -logits.log_softmax(-1)[0, 100 - FIRST_GENE]
    assert float(found[(few.segment == 1) & few.target_mask]) == pytest.approx(float(expected))
    model.lm_head.bias[20] += 100.0  # a gene that is not measured becomes as likely as can be
    again = Masked().places(model, few, model(few.ids, few.segment))
    torch.testing.assert_close(again[few.segment == 1], found[few.segment == 1])
