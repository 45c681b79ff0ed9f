"""Name the cell type of a view, and its ancestors in the Cell Ontology."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.network.packed import pool, wide
from genemamba.train.objectives.base import Objective
from genemamba.train.objectives.label_tree import LabelTree
from genemamba.train.packing import Batch

_SCALE = 10.0  # mean states are short: the logits of a fresh head would hardly differ


class Labels(Objective):
    """Cross entropy over the ancestors of a label (hierarchical cross entropy).

    The chance of a term is the sum over the labels below it, so to name a sibling costs less than
    to name a far cousin, and a label that is an ancestor of others is right with any of them. The
    mean of -log chance over a label's terms is the loss of a view; views without a label take no
    part.

    Parameters
    ----------
    tree
        The labels.
    width
        Of the model.
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

    def forward(self, model: GeneMamba, batch: Batch, states_RLD: Tensor) -> Tensor:
        """Return the mean loss of the views that have a label; 0 if there is none."""
        with torch.autocast(states_RLD.device.type, enabled=False):
            pooled = wide(pool(states_RLD, batch.segment, batch.n_views))
            return self.loss(pooled, batch.label)

    def loss(self, pooled_SD: Tensor, label_S: Tensor) -> Tensor:
        """Return the mean loss from the mean states of views and their labels."""
        named = label_S >= 0
        logits = self.head(pooled_SD[named].to(self.head.weight.dtype) * _SCALE)
        each = F.log_softmax(logits, dim=-1)[:, None].masked_fill(~self.member, -torch.inf)
        of_label = self.member.T[label_S[named]]
        terms = -each.logsumexp(-1).masked_fill(~of_label, 0.0)
        losses = terms.sum(1) / of_label.sum(1).clamp(min=1)
        return losses.sum() / max(1, len(losses))
