"""Name the genes that are hidden: they stand nowhere in the input, so nothing leaks."""

from __future__ import annotations

from torch import Tensor

from genemamba.network import GeneMamba
from genemamba.train.objectives.base import IGNORE, NamesGenes
from genemamba.train.packing import Batch


class Masked(NamesGenes):
    """Cross entropy of the hidden genes at their places."""

    def asks(self, model: GeneMamba, batch: Batch, states_RLD: Tensor) -> tuple[Tensor, Tensor]:
        """Ask for the gene of each hidden place."""
        return states_RLD, batch.genes.masked_fill(~batch.asked, IGNORE)
