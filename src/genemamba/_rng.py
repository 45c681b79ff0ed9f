"""Random numbers: every tool takes a seed or a generator."""

from __future__ import annotations

from numbers import Integral
from typing import Any, TypeAlias

import numpy as np

from genemamba.errors import InputError, shown

Rng: TypeAlias = int | np.random.Generator


def generator_of(rng: Rng) -> np.random.Generator:
    """Return a generator: itself, or one that starts from the seed."""
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(seed_of(rng))


def seed_of(rng: Rng) -> int:
    """Return a seed: an integer is one, a generator draws one."""
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**31 - 1))
    seed: Any = rng  # whatever a user gives
    if isinstance(seed, bool) or not isinstance(seed, Integral) or int(seed) < 0:
        raise InputError(
            f"rng={shown(rng)} is neither a seed nor a generator",
            "give a whole number of 0 or more, or numpy.random.default_rng(…)",
        )
    return int(seed)


def recorded_seed(rng: Rng) -> int | str:
    """Return what a record keeps: the seed, or "" for a generator."""
    return "" if isinstance(rng, np.random.Generator) else seed_of(rng)
