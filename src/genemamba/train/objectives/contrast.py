"""Find the other view of a cell among the views of other cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genemamba.network import GeneMamba
from genemamba.network.packed import pool
from genemamba.train.objectives.base import Objective
from genemamba.train.objectives.label_tree import LabelTree
from genemamba.train.packing import Batch


class Contrast(Objective):
    """InfoNCE between the two views of a cell, against both views of the others in its micro-batch.

    These are of one library, so batch effects cannot tell the cells apart; or the two views are of
    two cells of one type from different libraries, and batch effects are what must not tell. Views
    of the same set are among the others, so what a set has in common (its panel, its depth) must
    not tell either. Cells whose labels may be the same type are no others.

    What are compared are the mean states around that of the micro-batch, with no projection
    between: a projection could leave out what differs from view to view, such as depth, and the
    embedding would keep it.
    """

    def __init__(self, tree: LabelTree, *, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature
        self.register_buffer("related", tree.related, persistent=False)
        self.related: Tensor

    def forward(self, model: GeneMamba, batch: Batch, states_RLD: Tensor) -> Tensor:
        """Return the loss of finding either view by the other."""
        with torch.autocast(states_RLD.device.type, enabled=False):  # similarities need the digits
            return self.loss(pool(states_RLD, batch.segment, batch.n_views), batch.label)

    def loss(self, pooled_SD: Tensor, label_S: Tensor) -> Tensor:
        """Return the loss from the mean states of first views of all cells, then second views."""
        n = len(pooled_SD)
        view = F.normalize(pooled_SD - pooled_SD.mean(0), dim=-1)
        similarity = view @ view.T / self.temperature
        own = torch.arange(n, device=view.device)
        other = own.roll(n // 2)
        similarity = similarity.masked_fill(self._no_others(label_S, other), -torch.inf)
        return F.cross_entropy(similarity, other)

    def _no_others(self, label_S: Tensor, other: Tensor) -> Tensor:
        """S × S, bool: the view itself, and views that may be of the same type."""
        itself = torch.eye(len(label_S), dtype=torch.bool, device=label_S.device)
        if not len(self.related):
            return itself
        named = label_S >= 0
        same = self.related[label_S[:, None], label_S] & named[:, None] & named
        same[torch.arange(len(label_S), device=label_S.device), other] = False
        return same | itself
