"""Detect steps that would spoil a run before they are taken."""

from __future__ import annotations

import math
from typing import Any

SPIKE = 6.0  # standard deviations above the running mean
PATIENCE = 5  # skipped steps in a row that end a run
_DECAY = 0.98
_FEWEST = 20  # losses needed to estimate a spread
_NARROW = 0.01  # minimum spread, relative to the mean: a flat curve has nearly none


class Guard:
    """Skips a step with a non-finite gradient, or with a loss spike after `warm` steps."""

    def __init__(self, warm: int) -> None:
        self.warm = max(warm, _FEWEST)
        self.seen, self.mean, self.variance = 0, 0.0, 0.0
        self.in_a_row, self.skipped = 0, 0

    def refuses(self, loss: float, norm: float) -> str:
        """Return why a step must be skipped, "" if it need not.

        Raises
        ------
        FloatingPointError
            If too many steps in a row are skipped.
        """
        spread = max(math.sqrt(self.variance), _NARROW * abs(self.mean))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            why = f"the loss is {loss:g} and the norm of the gradient {norm:g}"
        elif self.seen >= self.warm and loss > self.mean + SPIKE * spread:
            why = f"the loss is {loss:.4g}, and was {self.mean:.4g} ± {spread:.2g}"
        else:
            self.in_a_row = 0
            self._update(loss)
            return ""
        self.in_a_row += 1
        self.skipped += 1
        if self.in_a_row >= PATIENCE:
            raise FloatingPointError(
                f"{PATIENCE} steps in a row were skipped, the last because {why}: lower "
                "[optimiser] learning_rate or clip, or use [run] precision = '32-true', and start "
                "in a new folder"
            )
        return why

    def _update(self, loss: float) -> None:
        self.seen += 1
        weight = max(1 - _DECAY, 1 / self.seen)
        off = loss - self.mean
        self.mean += weight * off
        self.variance = (1 - weight) * (self.variance + weight * off**2)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for resuming."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        vars(self).update(state)
