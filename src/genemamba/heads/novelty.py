"""How unlike a reference cells are, compared with its own cells when these were held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SHRINK = 20
"""Held-out cells of a class that count as much as those of all classes."""


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
        own = self._joined(self.measures, self.named, own=True)
        joined = self._joined(measures, named)
        found = 1 - _beyond(own, joined)
        return np.where(np.isfinite(joined), found, np.nan).astype(np.float32)

    def _joined(self, measures: np.ndarray, named: np.ndarray, *, own: bool = False) -> np.ndarray:
        beyond = [self._by_class(k, row, named, own) for k, row in enumerate(measures)]
        return -np.log(np.array(beyond)).sum(axis=0)

    def _by_class(self, k: int, values: np.ndarray, named: np.ndarray, own: bool) -> np.ndarray:
        """Return the fraction of held-out cells that are at least as unlike, by class."""
        out = _beyond(self.measures[k], values, own=own)
        for code in np.unique(named):
            cells, these = self.measures[k][self.named == code], named == code
            share = len(cells) / (len(cells) + _SHRINK)
            if len(cells):
                by_class = _beyond(cells, values[these], own=own)
                out[these] = share * by_class + (1 - share) * out[these]
        return np.where(np.isfinite(values), out, np.nan)


def _beyond(cells: np.ndarray, values: np.ndarray, *, own: bool = False) -> np.ndarray:
    """Return the rank of values among those of held-out cells, from 1 for low to nearly 0.

    A cell counts among those at least as unlike as itself; `own` cells are there already.
    """
    n = len(cells)
    higher = n - np.searchsorted(np.sort(cells), values, side="left")
    return higher / n if own else (higher + 1) / (n + 1)
