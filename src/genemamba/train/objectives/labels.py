"""Predict the cell type of a view, and its ancestors in the Cell Ontology."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.network.packed import pool, wide
from genemamba.train.objectives.base import Objective
from genemamba.train.objectives.label_tree import LabelTree
from genemamba.train.packing import ViewBatch

_SCALE = 10.0  # mean states are short: initial logits would hardly differ


class Labels(Objective):
    """Hierarchical cross entropy over a label and its ancestors.

    The probability of a term is the sum over its labels, so confusing siblings costs less than
    confusing distant types, and a label that is an ancestor of others is correct with any of them.
    The loss of a view is the mean of -log probability over its label's terms; views without a
    label do not contribute.
    """

    def __init__(self, tree: LabelTree, width: int) -> None:
        super().__init__()
        if not len(tree.member):
            raise InputError(
                "[objectives] labels has a weight, and the corpus has fewer than two labels",
                "build the corpus with labels, or use the recipe 'unlabelled'",
            )
        self.head = nn.Linear(width, len(tree.labels))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("member", tree.member, persistent=False)
        self.member: Tensor

    def forward(self, model: GeneMamba, batch: ViewBatch, states_RLD: Tensor) -> Tensor:
        """Return the mean loss of the labelled views; 0 if there are none."""
        with torch.autocast(states_RLD.device.type, enabled=False):
            pooled = wide(pool(states_RLD, batch.segment, batch.n_views))
            return self.loss(pooled, batch.label)

    def loss(self, pooled_SD: Tensor, label_S: Tensor) -> Tensor:
        """Return the mean loss from mean states and labels."""
        named = label_S >= 0
        logits = self.head(pooled_SD[named].to(self.head.weight.dtype) * _SCALE)
        each = F.log_softmax(logits, dim=-1)[:, None].masked_fill(~self.member, -torch.inf)
        of_label = self.member.T[label_S[named]]
        terms = -each.logsumexp(-1).masked_fill(~of_label, 0.0)
        losses = terms.sum(1) / of_label.sum(1).clamp(min=1)
        return losses.sum() / max(1, len(losses))
