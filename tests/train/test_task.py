from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from anndata import AnnData

from genemamba.network import GeneMamba
from genemamba.train.recipe import Recipe
from genemamba.train.task import Task


@pytest.mark.parametrize(
    ("objectives", "frozen"),
    [
        ({"masked": 1.0, "contrast": 1.0}, set()),
        ({"masked": 0.0, "contrast": 1.0}, {"lm_head"}),
        ({"masked": 0.0, "contrast": 0.0, "labels": 1.0}, {"lm_head"}),
    ],
)
def test_weights_that_nothing_trains_are_frozen(
    new_model: Callable[..., GeneMamba],
    new_recipe: Callable[..., Recipe],
    pbmc: AnnData,
    objectives: dict[str, float],
    frozen: set[str],
) -> None:
    """Of several processes, each would wait for the others to send these gradients."""
    model, labels = new_model(pbmc.var_names, merge="gate"), ["CL:0000236", "CL:0000084"]
    task = Task(model, new_recipe(objectives=objectives), labels)
    trained = {name for name, _ in task.trained()}
    rest = {name.split(".")[-2] for name, _ in task.named_parameters() if name not in trained}
    assert rest == frozen
    assert all(p.grad is None for p in task.parameters())


def test_the_total_weighs_the_losses(
    small_model: GeneMamba, new_recipe: Callable[..., Recipe]
) -> None:
    task = Task(small_model, new_recipe(objectives={"masked": 2.0, "contrast": 0.5}))
    assert task.names == ("masked", "contrast")
    assert task.total(torch.tensor([3.0, 4.0])) == 8.0
