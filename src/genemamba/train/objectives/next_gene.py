"""Predict the next gene: the paper's objective."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from genemamba.network import GeneMamba
from genemamba.train.objectives.base import IGNORE, PredictsGenes
from genemamba.train.packing import ViewBatch


class NextGene(PredictsGenes):
    """Cross entropy of the gene after each position.

    It leaks in a bidirectional model: the state has seen the next gene, so copying solves it.
    """

    def targets(
        self, model: GeneMamba, batch: ViewBatch, states_RLD: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Predict the next gene of the same view."""
        return states_RLD, following(batch).masked_fill(~batch.target_mask, IGNORE)


def following(batch: ViewBatch) -> Tensor:
    """Return the gene after each position, ``IGNORE`` at the end of a view."""
    gene = F.pad(batch.genes[:, 1:], (0, 1), value=IGNORE)
    same = batch.segment == F.pad(batch.segment[:, 1:], (0, 1), value=-1)
    return gene.masked_fill(~same, IGNORE)
