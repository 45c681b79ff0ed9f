"""Random numbers: every tool takes a seed or a generator."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

Rng: TypeAlias = int | np.random.Generator


def seed_of(rng: Rng) -> int:
    """Return a seed: an integer is one, a generator draws one."""
    return int(rng.integers(2**31 - 1)) if isinstance(rng, np.random.Generator) else rng
