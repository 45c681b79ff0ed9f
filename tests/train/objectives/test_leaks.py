"""Which objectives can be solved by copying.

The gene that a place has to name is taken out of the input, and nothing else. If the loss of that
place changes, the model has seen what it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from genemamba.network import GeneMamba
from genemamba.train.objectives import PredictsGenes
from genemamba.train.objectives.base import IGNORE
from genemamba.train.objectives.masked import Masked
from genemamba.train.objectives.next_gene import NextGene
from genemamba.train.packing import ViewBatch

NewBatch = Callable[..., ViewBatch]


def changes(objective: PredictsGenes, model: GeneMamba, batch: ViewBatch) -> list[float]:
    """How far the loss of a place moves when the gene it has to name is another in the input."""
    _, targets = objective.targets(model, batch, model(batch.ids, batch.segment))
    before = objective.places(model, batch, model(batch.ids, batch.segment))
    found = []
    for row, place in torch.argwhere(targets != IGNORE).tolist():
        own = row % len(batch.ids)
        view = batch.segment == batch.segment[own, place]
        at = view & (batch.genes == targets[row, place])
        assert at.sum() == 1  # a gene comes once in a view
        ids = torch.where(at & (batch.ids == batch.genes), batch.ids.max() - 5, batch.ids)
        other = batch._replace(ids=ids)
        after = objective.places(model, other, model(ids, batch.segment))
        found.append(float((after - before)[row, place].abs()))
    return found


@pytest.mark.parametrize(
    ("objective", "bidirectional", "leaks"),
    [
        (Masked(), True, False),
        (NextGene(), True, True),
        (NextGene(), False, False),
    ],
)
@torch.no_grad()
def test_which_objective_leaks(
    new_model: Callable[..., GeneMamba],
    pbmc,
    new_batch: NewBatch,
    objective: PredictsGenes,
    bidirectional: bool,
    leaks: bool,
) -> None:
    model = new_model(pbmc.var_names, bidirectional=bidirectional).double()
    batch = new_batch(target_fraction=0.15, hide=isinstance(objective, Masked))
    found = changes(objective, model, batch)
    assert len(found) > 10
    assert (min(found) > 1e-4) if leaks else (max(found) < 1e-12)


def test_a_hidden_gene_is_nowhere_in_its_view(small_model: GeneMamba, new_batch: NewBatch) -> None:
    batch = new_batch(hide=True)
    mask = small_model.vocab.special("[MASK]")
    assert 0.15 < batch.target_mask[batch.segment >= 0].float().mean() < 0.45
    for view in range(batch.n_views):
        here = batch.segment == view
        hidden = here & batch.target_mask
        assert (batch.ids[hidden] == mask).all()
        assert not set(batch.genes[hidden].tolist()) & set(batch.ids[here & ~hidden].tolist())
