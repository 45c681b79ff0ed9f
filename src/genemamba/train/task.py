"""A model and its objectives as one module, which is trained, distributed and saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genemamba.network import GeneMamba
from genemamba.network.packed import pool
from genemamba.tokens import FIRST_GENE
from genemamba.train.objectives import choose
from genemamba.train.packing import ViewBatch
from genemamba.train.recipe import Recipe


class Task(nn.Module):
    """Returns the losses of a batch, in the order of ``names``; their weighted sum is trained."""

    def __init__(self, model: GeneMamba, recipe: Recipe, labels: Sequence[str] = ()) -> None:
        super().__init__()
        assert model.vocab is not None
        self.model = model
        self.objectives = choose(recipe.objectives, model, labels)
        weights = recipe.objectives.weights()
        self.names = tuple(weights)
        self.reads_states = any(o.reads_states for o in self.objectives.values())
        self.weights: tuple[float, ...] = tuple(weights.values())
        self._freeze_the_rest()

    def forward(self, batch: ViewBatch, *, pooled: bool = False) -> Tensor:
        """Return the losses, or the mean state of every view."""
        if pooled:
            return pool(self.model(batch.ids, batch.segment), batch.segment, batch.n_views)
        states = torch.empty(0, device=batch.ids.device)
        if self.reads_states:
            states = self.model(batch.ids, batch.segment)
        losses: list[Any] = [self.objectives[n](self.model, batch, states) for n in self.names]
        return torch.stack(losses)

    def total(self, losses: Tensor) -> Tensor:
        """Return the weighted sum."""
        return losses @ losses.new_tensor(self.weights)

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Return the weights that an objective trains."""
        return ((name, p) for name, p in self.named_parameters() if p.requires_grad)

    def _freeze_the_rest(self) -> None:
        """Freeze weights that no objective reaches, for which other processes would wait."""
        ids = torch.tensor([[FIRST_GENE, FIRST_GENE + 1]]).repeat(2, 1)
        segment = torch.tensor([[0, 0], [1, 1]])
        target_mask = torch.ones_like(ids, dtype=torch.bool)
        n_genes = self.model.vocab.n_genes if self.model.vocab else 0
        profile = torch.full((2, n_genes), 1 / n_genes)
        measured = torch.ones(2, n_genes, dtype=torch.bool)
        label = torch.zeros(2, dtype=torch.int64)
        batch = ViewBatch(ids, ids, target_mask, segment, 2, label, measured, profile)
        self.total(self(batch)).backward()
        for parameter in self.parameters():
            parameter.requires_grad_(parameter.grad is not None)
        self.zero_grad()

    def compile(self) -> None:
        """Compile each layer: they share their code, so compile time does not grow with depth."""
        for layer in self.model.layers:
            layer.compile()
