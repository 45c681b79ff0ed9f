"""Weights to keep other than the last ones: their moving average, or a mix with the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Follows the weights of a module.

    Parameters
    ----------
    module
        Whose weights.
    decay
        Share of the average that a step keeps; less in the first steps, so that the start fades.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay, self.taken = module, decay, 0
        self.average = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the present weights."""
        self.taken += 1
        keep = min(self.decay, (1 + self.taken) / (10 + self.taken))
        for name, parameter in self.module.named_parameters():
            self.average[name].lerp_(parameter, 1 - keep)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Put the average in the place of the weights for a while."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Tensor | int]:
        """Return what a resumed run has to know."""
        return {"taken": self.taken} | self.average

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a state."""
        self.taken = int(state["taken"])
        for name, average in self.average.items():
            average.copy_(state[name])

    def _swap(self) -> None:
        for name, parameter in self.module.named_parameters():
            parameter.data, self.average[name] = self.average[name], parameter.data


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
