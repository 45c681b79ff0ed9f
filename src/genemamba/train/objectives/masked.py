"""Predict hidden genes, which are nowhere in the input, so nothing leaks."""

from __future__ import annotations

from torch import Tensor

from genemamba.network import GeneMamba
from genemamba.train.objectives.base import IGNORE, PredictsGenes
from genemamba.train.packing import ViewBatch


class Masked(PredictsGenes):
    """Cross entropy of the hidden genes at their positions."""

    def targets(
        self, model: GeneMamba, batch: ViewBatch, states_RLD: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Predict the gene at each hidden position."""
        return states_RLD, batch.genes.masked_fill(~batch.target_mask, IGNORE)
