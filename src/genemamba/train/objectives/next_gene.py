"""Name the next gene: the paper's objective."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from genemamba.network import GeneMamba
from genemamba.train.objectives.base import IGNORE, NamesGenes
from genemamba.train.packing import Batch


class NextGene(NamesGenes):
    """Cross entropy of the gene after each place.

    It leaks: a state of a model that reads both ways has seen the next gene, so copying solves it.
    With ``bidirectional = false`` it does not.
    """

    def asks(self, model: GeneMamba, batch: Batch, states_RLD: Tensor) -> tuple[Tensor, Tensor]:
        """Ask for the next gene of the same view."""
        return states_RLD, following(batch).masked_fill(~batch.asked, IGNORE)


def following(batch: Batch) -> Tensor:
    """Return the gene after each place, ``IGNORE`` at the end of a view."""
    gene = F.pad(batch.genes[:, 1:], (0, 1), value=IGNORE)
    same = batch.segment == F.pad(batch.segment[:, 1:], (0, 1), value=-1)
    return gene.masked_fill(~same, IGNORE)


def previous(batch: Batch) -> Tensor:
    """Return the gene before each place, ``IGNORE`` at the start of a view."""
    gene = F.pad(batch.genes[:, :-1], (1, 0), value=IGNORE)
    same = batch.segment == F.pad(batch.segment[:, :-1], (1, 0), value=-1)
    return gene.masked_fill(~same, IGNORE)
