"""How unlike a reference cells are, compared with its own cells when these were held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SHRINK = 20
"""Held-out cells of a class that count as much as those of all classes."""
_LEAST = 0.002  # a cell beyond all held-out ones is not infinitely unlike them


@dataclass(frozen=True, eq=False)
class Novelty:
    """Compares cells with held-out cells of the reference that got the same name.

    Each measure becomes the fraction of held-out cells that are less unlike the reference; their
    negative log complements are added (Fisher 1925), and the sum becomes such a fraction again.
    """

    measures: np.ndarray
    """``(n_measures, n_cells)`` float32 of held-out cells; higher is less alike."""
    named: np.ndarray
    """``(n_cells,)`` the class that each of these cells was given."""

    @property
    def with_traits(self) -> bool:
        """Whether the second of the measures compares traits."""
        return len(self.measures) == 3

    def of(self, measures: np.ndarray, named: np.ndarray) -> np.ndarray:
        """Return the fraction of held-out cells that are less unlike the reference.

        Parameters
        ----------
        measures
            ``(n_measures, N)`` of other cells; NaN gives NaN.
        named
            ``(N,)`` the class of each.
        """
        own = np.sort(self._joined(self.measures, self.named))
        joined = self._joined(measures, named)
        found = np.searchsorted(own, joined, side="left") / len(own)
        return np.where(np.isfinite(joined), found, np.nan).astype(np.float32)

    def _joined(self, measures: np.ndarray, named: np.ndarray) -> np.ndarray:
        beyond = np.array([self._beyond(k, row, named) for k, row in enumerate(measures)])
        return -np.log(np.maximum(beyond, _LEAST)).sum(axis=0)

    def _beyond(self, k: int, values: np.ndarray, named: np.ndarray) -> np.ndarray:
        """Return the fraction of held-out cells that are at least as unlike, by class."""
        out = _beyond(self.measures[k], values)
        for code in np.unique(named):
            own, these = self.measures[k][self.named == code], named == code
            share = len(own) / (len(own) + _SHRINK)
            if len(own):
                out[these] = share * _beyond(own, values[these]) + (1 - share) * out[these]
        return np.where(np.isfinite(values), out, np.nan)


def _beyond(own: np.ndarray, values: np.ndarray) -> np.ndarray:
    return 1 - np.searchsorted(np.sort(own), values, side="left") / len(own)
