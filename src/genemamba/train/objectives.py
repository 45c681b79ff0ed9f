"""What the model is trained to do.

Naming hidden genes and telling cells apart cannot be solved by copying the input. Naming the next
gene, the paper's objective, can where the model reads both ways: it has seen that gene.

Shapes: R rows (two views of B cells), L tokens, D model width, M genes to name.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genemamba.model import GeneMamba
from genemamba.train.views import IGNORE


def gene_loss(model: GeneMamba, states_RLD: Tensor, targets_RL: Tensor) -> Tensor:
    """Cross entropy of the genes to be named at their places."""
    asked = targets_RL != IGNORE
    logits_MV = model.lm_head(states_RLD[asked])
    return F.cross_entropy(logits_MV.float(), targets_RL[asked])


class CellContrast(nn.Module):
    """InfoNCE between the two views of a cell, against the other cells of its library.

    A batch holds cells of one library only, so batch effects cannot tell the cells apart.
    """

    def __init__(self, d_model: int, *, width: int = 64, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature
        self.head = nn.Sequential(nn.Linear(d_model, d_model), nn.GELU(), nn.Linear(d_model, width))

    def forward(self, pooled_RD: Tensor) -> Tensor:
        """Return the loss; rows are first views of all cells, then second views."""
        first, second = F.normalize(self.head(pooled_RD), dim=-1).chunk(2)
        similarity = first @ second.T / self.temperature
        own = torch.arange(len(first), device=first.device)
        return (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2


def pool(states_RLD: Tensor, lengths_R: Tensor) -> Tensor:
    """Mean over the real tokens of each row, in float32."""
    real = torch.arange(states_RLD.shape[1], device=lengths_R.device) < lengths_R[:, None]
    weight_RL = real / lengths_R[:, None].clamp(min=1)
    return torch.einsum("rl,rld->rd", weight_RL.float(), states_RLD.float())
