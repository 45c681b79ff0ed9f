"""Steps that would spoil a run, found before they are taken."""

from __future__ import annotations

import math
from typing import Any

SPIKE = 6.0  # standard deviations over the running mean
PATIENCE = 5  # refused steps in a row that end a run
_DECAY = 0.98
_FEWEST = 20  # losses seen before a spread means anything
_NARROW = 0.01  # of the mean: what a flat curve varies by is no measure


class Guard:
    """Refuses a step whose gradient is not finite, or whose loss leaps after warm-up.

    Parameters
    ----------
    warm
        Steps of the warm-up.
    """

    def __init__(self, warm: int) -> None:
        self.warm = max(warm, _FEWEST)
        self.seen, self.mean, self.variance = 0, 0.0, 0.0
        self.in_a_row, self.skipped = 0, 0

    def refuses(self, loss: float, norm: float) -> str:
        """Say why a step must not be taken; "" if it may.

        Raises
        ------
        FloatingPointError
            If too many steps in a row are refused.
        """
        why = self._why(loss, norm)
        if not why:
            self.in_a_row = 0
            self._learn(loss)
            return ""
        self.in_a_row += 1
        self.skipped += 1
        if self.in_a_row >= PATIENCE:
            raise FloatingPointError(
                f"{PATIENCE} steps in a row were refused, the last because {why}: lower "
                "[optimiser] learning_rate or clip, or use [run] precision = '32-true', and start "
                "in a new folder"
            )
        return why

    def _why(self, loss: float, norm: float) -> str:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return f"the loss is {loss:g} and the norm of the gradient {norm:g}"
        spread = max(math.sqrt(self.variance), _NARROW * abs(self.mean))
        if self.seen >= self.warm and loss > self.mean + SPIKE * spread:
            return f"the loss is {loss:.4g}, and was {self.mean:.4g} ± {spread:.2g}"
        return ""

    def _learn(self, loss: float) -> None:
        self.seen += 1
        weight = max(1 - _DECAY, 1 / self.seen)
        off = loss - self.mean
        self.mean += weight * off
        self.variance = (1 - weight) * (self.variance + weight * off**2)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run has to know."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        vars(self).update(state)
