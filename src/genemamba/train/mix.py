"""The weights to evaluate and save: the last ones averaged with the initial ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Mix:
    """The weights averaged with those before training, which count with `share`.

    What training learns from its own studies costs part of what transfers to others; a step back
    towards the initial weights loses less of the former than it regains of the latter [1]_.

    References
    ----------
    .. [1] Wortsman et al., *Robust fine-tuning of zero-shot models*, CVPR 2022, arXiv:2109.01903.
    """

    def __init__(self, module: nn.Module, share: float) -> None:
        self.module, self.share = module, share
        self.first = {name: weight.clone() for name, weight in module.state_dict().items()}

    def of(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Average weights, by name, with the initial ones."""
        return {
            name: torch.lerp(weight.float(), self.first[name].to(weight.device), self.share)
            for name, weight in weights.items()
        }

    @contextmanager
    def used(self) -> Iterator[None]:
        """Use the average as the weights of the module for a while."""
        last = {name: p.data for name, p in self.module.named_parameters()}
        mixed = self.of(last)
        for name, parameter in self.module.named_parameters():
            parameter.data = mixed[name]
        try:
            yield
        finally:
            for name, parameter in self.module.named_parameters():
                parameter.data = last[name]
