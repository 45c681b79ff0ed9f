"""A moving average of the weights: steadier than the last ones."""

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
