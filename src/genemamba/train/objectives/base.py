"""The interface of objectives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genemamba.network import GeneMamba
from genemamba.network.packed import wide
from genemamba.tokens import FIRST_GENE
from genemamba.train.packing import ViewBatch

IGNORE = -100  # no gene is predicted at this position


class Objective(nn.Module, ABC):
    """Returns one loss for a batch; may have trainable weights."""

    reads_states = True  # if False, states may be empty

    @abstractmethod
    def forward(self, model: GeneMamba, batch: ViewBatch, states_RLD: Tensor) -> Tensor:
        """Return the loss, a scalar."""


class PredictsGenes(Objective):
    """Predicts genes at some positions; the loss is the mean over these positions."""

    @abstractmethod
    def targets(
        self, model: GeneMamba, batch: ViewBatch, states_RLD: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return states, … × D, and the gene to predict from each, … int64, or ``IGNORE``."""

    def places(self, model: GeneMamba, batch: ViewBatch, states_RLD: Tensor) -> Tensor:
        """Return the loss of every position, 0 where no gene is predicted."""
        states, targets = self.targets(model, batch, states_RLD)
        losses = wide(states).new_zeros(targets.shape)
        for at, found in _losses(model, batch, states, targets):
            losses = losses.masked_scatter(at, found)
        return losses

    def forward(self, model: GeneMamba, batch: ViewBatch, states_RLD: Tensor) -> Tensor:
        """Return the mean loss over predicted positions; 0 if there are none."""
        losses = torch.cat(
            [found for _, found in _losses(model, batch, *self.targets(model, batch, states_RLD))]
        )
        return losses.sum() / max(1, len(losses))


def _losses(
    model: GeneMamba, batch: ViewBatch, states: Tensor, targets: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each set of views, the predicted positions and the cross entropy at each.

    The softmax is over genes that all views of the set measure: an unmeasured gene is no negative.
    """
    head = model.lm_head
    for number, measured in enumerate(batch.measured):
        at = (targets != IGNORE) & (batch.set_of == number)
        token = torch.nonzero(measured).flatten() + FIRST_GENE
        place = torch.searchsorted(token, targets[at])
        logits = F.linear(states[at], head.weight[token], head.bias[token])
        yield at, F.cross_entropy(wide(logits), place, reduction="none")
