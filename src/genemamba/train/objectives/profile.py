"""Say from the embedding of a view what the other view of the cell expresses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genemamba.network import GeneMamba
from genemamba.network.packed import pool, wide
from genemamba.tokens import FIRST_GENE
from genemamba.train.objectives.base import Objective
from genemamba.train.packing import Batch


class Profile(Objective):
    """Cross entropy of the other view's profile under one softmax over all genes.

    The parts of a cell's counts are independent given its expression, so nothing can be copied:
    the mean state has to hold what the cell expresses. A profile is in units of the genes' medians
    and linear in the counts: what is expected of it does not depend on how deep a cell was read.
    The gene vectors are the model's own.
    """

    def __init__(self, model: GeneMamba, n_genes: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        expected = model.lm_head.bias[FIRST_GENE : FIRST_GENE + n_genes]
        self.bias = nn.Parameter(expected.detach().clone())

    def forward(self, model: GeneMamba, batch: Batch, states_RLD: Tensor) -> Tensor:
        """Return the loss, in nats a gene."""
        assert batch.profile is not None
        pooled = pool(states_RLD, batch.segment, batch.n_views)
        genes = model.lm_head.weight[FIRST_GENE : FIRST_GENE + len(self.bias)]
        logits = F.linear(pooled * self.log_scale.exp(), genes, self.bias)
        other = batch.profile.roll(batch.n_views // 2, 0)
        return -(other * F.log_softmax(wide(logits), dim=-1)).sum(-1).mean()
