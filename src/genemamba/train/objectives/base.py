"""What all objectives have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genemamba.network import GeneMamba
from genemamba.network.packed import wide
from genemamba.tokens import FIRST_GENE
from genemamba.train.packing import Batch

IGNORE = -100  # no gene is asked for at this place


class Objective(nn.Module, ABC):
    """Gives one loss for a batch; may have weights of its own."""

    reads_states = True  # else it reads the batch itself, and the states may be empty

    @abstractmethod
    def forward(self, model: GeneMamba, batch: Batch, states_RLD: Tensor) -> Tensor:
        """Return the loss, a number."""


class NamesGenes(Objective):
    """Names the gene that belongs to a place; the loss is the mean over the places asked."""

    @abstractmethod
    def asks(self, model: GeneMamba, batch: Batch, states_RLD: Tensor) -> tuple[Tensor, Tensor]:
        """Return states, … × D, and the gene each has to name, … int64, elsewhere ``IGNORE``."""

    def places(self, model: GeneMamba, batch: Batch, states_RLD: Tensor) -> Tensor:
        """Return the loss of every place, 0 where nothing is asked."""
        states, targets = self.asks(model, batch, states_RLD)
        losses = wide(states).new_zeros(targets.shape)
        for at, found in _losses(model, batch, states, targets):
            losses = losses.masked_scatter(at, found)
        return losses

    def forward(self, model: GeneMamba, batch: Batch, states_RLD: Tensor) -> Tensor:
        """Return the mean loss of the places asked; 0 if there is none."""
        losses = torch.cat(
            [found for _, found in _losses(model, batch, *self.asks(model, batch, states_RLD))]
        )
        return losses.sum() / max(1, len(losses))


def _losses(
    model: GeneMamba, batch: Batch, states: Tensor, targets: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield for each set of views the places asked and the cross entropy at each of them.

    A gene stands against those that all views of its set measure: what was not measured is
    evidence of nothing.
    """
    head = model.lm_head
    for number, measured in enumerate(batch.measured):
        at = (targets != IGNORE) & (batch.set_of == number)
        token = torch.nonzero(measured).flatten() + FIRST_GENE
        place = torch.searchsorted(token, targets[at])
        logits = F.linear(states[at], head.weight[token], head.bias[token])
        yield at, F.cross_entropy(wide(logits), place, reduction="none")
