"""Weights to keep other than the last ones: their mix with the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Mix:
    """The weights mixed with those that training began with.

    What training learns of its own studies costs some of what holds in others; a step back costs
    less of the former than it gains of the latter [1]_.

    Parameters
    ----------
    module
        Whose weights, before training.
    share
        Share of the first weights.

    References
    ----------
    .. [1] Wortsman et al., *Robust fine-tuning of zero-shot models*, CVPR 2022, arXiv:2109.01903.
    """

    def __init__(self, module: nn.Module, share: float) -> None:
        self.module, self.share = module, share
        self.first = {name: weight.clone() for name, weight in module.state_dict().items()}

    def of(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mix weights, by name, with the first ones."""
        return {
            name: torch.lerp(weight.float(), self.first[name].to(weight.device), self.share)
            for name, weight in weights.items()
        }

    @contextmanager
    def used(self) -> Iterator[None]:
        """Put the mix in the place of the weights for a while."""
        last = {name: p.data for name, p in self.module.named_parameters()}
        mixed = self.of(last)
        for name, parameter in self.module.named_parameters():
            parameter.data = mixed[name]
        try:
            yield
        finally:
            for name, parameter in self.module.named_parameters():
                parameter.data = last[name]
