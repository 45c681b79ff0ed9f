"""Minimise many smooth convex functions at once, each with its own steps (L-BFGS)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Loss = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

_PAIRS = 10  # last steps and changes of the gradient that are kept
_DECREASE = 1e-4  # of what the gradient predicts, to accept a step (Armijo)
_HALVINGS = 20


def minimise(loss: Loss, start: np.ndarray, *, tolerance: float, rounds: int) -> np.ndarray:
    """Return the minima ``(n_problems, n_unknowns)``.

    `loss` returns the value of each problem and its gradient. A problem is solved once no entry of
    its gradient exceeds `tolerance`, or rounding hides any progress. If they were minimised as one
    sum, all would take the steps that suit the slowest.
    """
    x = start
    value, gradient = loss(x)
    pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    rounding = 16 * np.finfo(start.dtype).eps
    open_ = np.abs(gradient).max(axis=1) > tolerance
    for _ in range(rounds):
        if not open_.any():
            break
        step = _direction(gradient, pairs) * open_[:, None]
        slope = _dot(step, gradient)
        length = np.ones_like(slope)
        slack = rounding * np.abs(value)
        for _ in range(_HALVINGS):
            there, its_gradient = loss(x + length[:, None] * step)
            bad = ~(there <= value + _DECREASE * length * slope + slack)
            if not bad.any():
                break
            length[bad] /= 2
        moved = length[:, None] * step * ~bad[:, None]
        turned = np.where(bad[:, None], 0, its_gradient - gradient)
        x = x + moved
        gradient = gradient + turned
        value = np.where(bad, value, there)
        open_ = open_ & ~bad & (np.abs(gradient).max(axis=1) > tolerance)
        pairs = [*pairs[1 - _PAIRS :], (moved, turned, _dot(moved, turned))]
    return x


def _direction(
    gradient: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Return the step of L-BFGS for each problem (two-loop recursion)."""
    q, kept = -gradient, []
    for moved, turned, both in reversed(pairs):
        one = np.where(both > 0, both, np.inf)  # a problem without such a pair skips it
        along = _dot(moved, q) / one
        q = q - along[:, None] * turned
        kept.append((moved, turned, one, along))
    if pairs:
        _, turned, both = pairs[-1]
        square = _dot(turned, turned)
        q = q * np.where(both > 0, both / np.where(square > 0, square, 1), 1)[:, None]
    for moved, turned, one, along in reversed(kept):
        q = q + (along - _dot(turned, q) / one)[:, None] * moved
    return q


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("fp,fp->f", a, b)
