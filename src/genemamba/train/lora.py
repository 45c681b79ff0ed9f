"""Low-rank adapters: train a few thousand weights instead of all.

Source: Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, arXiv:2106.09685.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.utils import parametrize

ADAPTED = ("in_proj", "out_proj")


class LowRank(nn.Module):
    """Adds ``up @ down`` to a frozen matrix, as a parametrization of ``weight``."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(weight.new_empty(rank, columns))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted matrix."""
        return weight + self.up @ self.down


def add_adapters(body: nn.Module, rank: int) -> None:
    """Freeze all weights of `body` and add adapters to its in- and out-projections.

    A_log, dt_bias, D, convolutions and norms keep their values: they set the time scales of the
    pretrained states, and are too small to gain from a low rank.
    """
    body.requires_grad_(False)
    for layer in projections(body):
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))


def merge_adapters(body: nn.Module) -> None:
    """Replace adapted matrices by plain ones with the same values."""
    for layer in projections(body):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def projections(body: nn.Module) -> list[nn.Linear]:
    """Return the linear layers that get adapters."""
    return [
        layer
        for name, layer in body.named_modules()
        if isinstance(layer, nn.Linear) and name.rsplit(".", 1)[-1] in ADAPTED
    ]
