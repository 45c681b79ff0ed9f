"""What all objectives have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn

from genemamba.model import GeneMamba
from genemamba.model.batch import wide
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
        return losses.masked_scatter(targets != IGNORE, _losses(model, states, targets))

    def forward(self, model: GeneMamba, batch: Batch, states_RLD: Tensor) -> Tensor:
        """Return the mean loss of the places asked; 0 if there is none."""
        losses = _losses(model, *self.asks(model, batch, states_RLD))
        return losses.sum() / max(1, len(losses))


def _losses(model: GeneMamba, states: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy at the places asked, one after the other."""
    asked = targets != IGNORE
    logits = wide(model.lm_head(states[asked]))
    return F.cross_entropy(logits, targets[asked], reduction="none")
