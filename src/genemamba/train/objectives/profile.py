"""Predict the expression in the other view of a cell from the embedding of one view."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genemamba.network import GeneMamba
from genemamba.network.packed import pool, wide
from genemamba.tokens import FIRST_GENE
from genemamba.train.objectives.base import Objective
from genemamba.train.packing import ViewBatch


class Profile(Objective):
    """Cross entropy of the other view's expression under a softmax over all genes.

    Disjoint parts of a cell's counts are independent given its expression, so nothing can be
    copied: the mean state has to encode what the cell expresses. Expression is in units of the
    genes' medians and linear in the counts, so its expectation does not depend on sequencing depth.
    The gene vectors are those of the model.
    """

    def __init__(self, model: GeneMamba, n_genes: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        expected = model.lm_head.bias[FIRST_GENE : FIRST_GENE + n_genes]
        self.bias = nn.Parameter(expected.detach().clone())

    def forward(self, model: GeneMamba, batch: ViewBatch, states_RLD: Tensor) -> Tensor:
        """Return the loss, in nats per gene."""
        assert batch.profile is not None
        pooled = pool(states_RLD, batch.segment, batch.n_views)
        genes = model.lm_head.weight[FIRST_GENE : FIRST_GENE + len(self.bias)]
        logits = F.linear(pooled * self.log_scale.exp(), genes, self.bias)
        other = batch.profile.roll(batch.n_views // 2, 0)
        return -(other * F.log_softmax(wide(logits), dim=-1)).sum(-1).mean()
