from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.tokens import FIRST_GENE
from genemamba.train.objectives.pathway import Pathway, read_pathways
from genemamba.train.packing import ViewBatch


def test_pathways_are_read_as_tokens(small_model: GeneMamba, tmp_path: Path) -> None:
    symbols = small_model.vocab.symbol
    file = tmp_path / "sets.gmt"
    file.write_text(f"one\t\t{symbols[3]}\t{symbols[8]}\tNOGENE\nsmall\t\t{symbols[3]}\n")
    member = read_pathways(str(file), small_model.vocab)
    assert member.nonzero().tolist() == [[FIRST_GENE + 3, 0], [FIRST_GENE + 8, 0]]
    file.write_text("one\t\tNOGENE\n")
    with pytest.raises(InputError, match="no pathway"):
        read_pathways(str(file), small_model.vocab)


def test_the_loss_is_the_formula(
    small_model: GeneMamba, new_batch: Callable[..., ViewBatch]
) -> None:
    """Worked out pair by pair; positive pairs are no negatives, hidden genes take no part."""
    a, b, c, d, alone = 10, 20, 30, 40, 50  # a and b share a pathway, and b and c another
    batch = new_batch(
        views=[np.array([a, b, c, alone]), np.array([d, b, a])], target_fraction=0.0, row=4
    )
    hidden = (batch.genes == d) & (batch.segment == 1)
    member = torch.zeros(len(small_model.vocab), 3, dtype=torch.bool)
    member[[a, b], 0] = member[[b, c], 1] = member[[d], 2] = True
    states = torch.randn(*batch.ids.shape, 6, dtype=torch.float64, requires_grad=True)
    for is_hidden in (False, True):
        shown = batch._replace(ids=torch.where(hidden & is_hidden, 1, batch.ids))
        loss = Pathway(member, temperature=0.5)(small_model, shown, states)
        genes = [a, b, c] if is_hidden else [a, b, c, d]
        mean = {g: states[batch.genes == g].mean(0) for g in genes}
        s = {
            (i, j): torch.cosine_similarity(mean[i], mean[j], dim=0).item() / 0.5
            for i in genes for j in genes
        }  # fmt: skip
        partners = {a: {b}, b: {a, c}, c: {b}, d: set()}
        losses = [
            -math.log(math.exp(s[i, j]) / (math.exp(s[i, j]) + sum(math.exp(s[i, k]) for k in no)))
            for i in genes
            if (no := set(genes) - partners[i] - {i})
            for j in partners[i]
        ]
        assert loss.item() == pytest.approx(np.mean(losses))
    loss.backward()
    assert states.grad is not None and states.grad.abs().sum() > 0


def test_a_batch_without_pairs_costs_nothing(
    small_model: GeneMamba, new_batch: Callable[..., ViewBatch]
) -> None:
    batch = new_batch()
    member = torch.zeros(len(small_model.vocab), 1, dtype=torch.bool)
    states = small_model(batch.ids, batch.segment)
    loss = Pathway(member)(small_model, batch, states)
    loss.backward()
    assert loss == 0
