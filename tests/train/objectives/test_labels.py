"""Hierarchical cross entropy beside a slow one, term by term."""

from __future__ import annotations

import pytest
import torch

from genemamba.errors import InputError
from genemamba.ontology import Ontology
from genemamba.train.objectives.label_tree import LabelTree
from genemamba.train.objectives.labels import Labels

LABELS = ["CL:0000084", "CL:0000624", "CL:0000625", "CL:0000236", "CL:0000127"]
"""T cell; CD4- and CD8-positive, alpha-beta T cell; B cell; astrocyte."""


def slow(logits: torch.Tensor, label: int) -> torch.Tensor:
    """Mean of -log chance over the distinct terms above a label that not all labels share."""
    above = {one: {one, *Ontology.load().ancestors(one)} for one in LABELS}
    chance, seen, losses = logits.softmax(-1), set(), []
    for term in above[LABELS[label]]:
        below = frozenset(i for i, one in enumerate(LABELS) if term in above[one])
        if below not in seen and len(below) < len(LABELS):
            seen.add(below)
            losses.append(-chance[list(below)].sum().log())
    return torch.stack(losses).mean()


def test_it_is_the_mean_over_the_ancestors() -> None:
    torch.manual_seed(0)
    objective = Labels(LabelTree(LABELS), 6).double()
    torch.nn.init.normal_(objective.head.weight)
    pooled, label = torch.randn(7, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, -1, 1])
    logits = objective.head(pooled * 10)
    expected = torch.stack([slow(logits[i], int(label[i])) for i in range(7) if label[i] >= 0])
    torch.testing.assert_close(objective.loss(pooled, label), expected.mean())


def test_a_sibling_costs_less_than_a_stranger_and_a_child_least() -> None:
    objective = Labels(LabelTree(LABELS), 5)
    with torch.no_grad():
        objective.head.weight.copy_(torch.eye(5))
    loss = [
        objective.loss(torch.eye(5)[said][None], torch.tensor([true])).item()
        for said, true in ((1, 0), (2, 1), (4, 1))
    ]
    assert loss[0] < loss[1] < loss[2]
    assert loss[0] < 0.05  # a CD4 T cell is a T cell


def test_without_labels_the_loss_is_zero() -> None:
    objective = Labels(LabelTree(LABELS), 4)
    loss = objective.loss(torch.randn(3, 4), torch.full((3,), -1))
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize("labels", [[], ["CL:0000084"]])
def test_a_corpus_without_labels_is_refused(labels: list[str]) -> None:
    with pytest.raises(InputError, match="recipe 'unlabelled'"):
        Labels(LabelTree(labels), 4)
