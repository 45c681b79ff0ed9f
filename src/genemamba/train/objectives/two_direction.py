"""Name the next gene and the previous one, each from a reading that has not seen it."""

from __future__ import annotations

import torch
from torch import Tensor

from genemamba.model import GeneMamba
from genemamba.train.objectives.base import IGNORE, NamesGenes
from genemamba.train.objectives.next_gene import following, previous
from genemamba.train.packing import Batch


class TwoDirection(NamesGenes):
    """Cross entropy of the next gene, reading forwards, and of the previous one, backwards.

    The directions are kept apart through all layers, so nothing leaks. It reads the batch a second
    time: the merged states, which the embedding is made of, take no part.
    """

    reads_states = False

    def asks(self, model: GeneMamba, batch: Batch, states_RLD: Tensor) -> tuple[Tensor, Tensor]:
        """Ask each place for the next gene, then each for the previous one; 2 R × L."""
        states = torch.cat(model.read_apart(batch.ids, batch.segment))
        targets = torch.cat([following(batch), previous(batch)])
        return states, targets.masked_fill(~batch.asked.repeat(2, 1), IGNORE)
