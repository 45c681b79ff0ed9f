"""Contrast views of one cell with views of other cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genemamba.network import GeneMamba
from genemamba.network.packed import pool
from genemamba.train.objectives.base import Objective
from genemamba.train.objectives.label_tree import LabelTree
from genemamba.train.packing import ViewBatch


class Contrast(Objective):
    """InfoNCE between the two views of a cell, against both views of all others in its micro-batch.

    A micro-batch holds one library, so batch effects cannot separate its cells; or pairs of cells
    of one type from different libraries, so batch effects must not. Views of the same set are
    negatives as well, so neither can panel or depth. Cells that may be of the same type are not
    negatives.

    Compared are mean states centred on the micro-batch, without a projection head, which could
    absorb differences between views, such as depth, that the embedding would then keep.
    """

    def __init__(self, tree: LabelTree, *, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature
        self.register_buffer("related", tree.related, persistent=False)
        self.related: Tensor

    def forward(self, model: GeneMamba, batch: ViewBatch, states_RLD: Tensor) -> Tensor:
        """Return the loss of identifying either view from the other."""
        with torch.autocast(states_RLD.device.type, enabled=False):  # needs float32
            return self.loss(pool(states_RLD, batch.segment, batch.n_views), batch.label)

    def loss(self, pooled_SD: Tensor, label_S: Tensor) -> Tensor:
        """Return the loss from mean states: first views of all cells, then second views."""
        n = len(pooled_SD)
        view = F.normalize(pooled_SD - pooled_SD.mean(0), dim=-1)
        similarity = view @ view.T / self.temperature
        own = torch.arange(n, device=view.device)
        other = own.roll(n // 2)
        similarity = similarity.masked_fill(self._no_others(label_S, other), -torch.inf)
        return F.cross_entropy(similarity, other)

    def _no_others(self, label_S: Tensor, other: Tensor) -> Tensor:
        """Return S × S, bool: the view itself, and views of cells that may be of the same type."""
        itself = torch.eye(len(label_S), dtype=torch.bool, device=label_S.device)
        if not len(self.related):
            return itself
        named = label_S >= 0
        same = self.related[label_S[:, None], label_S] & named[:, None] & named
        same[torch.arange(len(label_S), device=label_S.device), other] = False
        return same | itself
