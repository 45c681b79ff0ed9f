"""Find the other view of a cell among the cells of its library."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genemamba.model import GeneMamba
from genemamba.model.batch import pool
from genemamba.train.objectives.base import Objective
from genemamba.train.packing import Batch


class Contrast(Objective):
    """InfoNCE between the two views of a cell, against the other cells of its micro-batch.

    These are of one library, so batch effects cannot tell the cells apart. What is compared are the
    mean states around that of the micro-batch, with no projection between: a projection could leave
    out what differs from view to view, such as depth, and the embedding would keep it.
    """

    def __init__(self, *, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, model: GeneMamba, batch: Batch, states_RLD: Tensor) -> Tensor:
        """Return the loss of finding either view by the other."""
        with torch.autocast(states_RLD.device.type, enabled=False):  # similarities need the digits
            return self.loss(pool(states_RLD, batch.segment, batch.n_views))

    def loss(self, pooled_SD: Tensor) -> Tensor:
        """Return the loss from the mean states of first views of all cells, then second views."""
        first, second = F.normalize(pooled_SD - pooled_SD.mean(0), dim=-1).chunk(2)
        similarity = first @ second.T / self.temperature
        own = torch.arange(len(first), device=first.device)
        return (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2
