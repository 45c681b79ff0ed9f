"""What every training run shares: which weights decay, how the rate moves, how state is saved."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn


def decay_groups(
    named: Iterable[tuple[str, nn.Parameter]], weight_decay: float
) -> list[dict[str, Any]]:
    """Decay matrices only: decaying A_log, D, dt_bias, norms or biases would change dynamics."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in named:
        matrix = parameter.ndim >= 2 and "conv1d" not in name
        (decayed if matrix else kept).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]


def warm_cosine(step: int, steps: int, warmup: float) -> float:
    """Rise to 1 in the first `warmup` share of the steps, then fall to 0 as a cosine."""
    rise, fallen = _rise_and_fall(step, steps, warmup)
    return rise * 0.5 * (1 + math.cos(math.pi * fallen))


def warm_linear(step: int, steps: int, warmup: float) -> float:
    """Rise to 1 in the first `warmup` share of the steps, then fall to 0 along a line."""
    rise, fallen = _rise_and_fall(step, steps, warmup)
    return rise * (1 - fallen)


def _rise_and_fall(step: int, steps: int, warmup: float) -> tuple[float, float]:
    """How far the rate has risen, and how far the steps that follow have come."""
    warm = max(1, round(warmup * steps))
    if step < warm:
        return (step + 1) / warm, 0.0
    return 1.0, (step - warm) / max(1, steps - warm)


def save_whole(state: dict[str, Any], file: Path) -> None:
    """Write by renaming: a kill in mid-write leaves the last state whole."""
    torch.save(state, file.with_suffix(".new"))
    file.with_suffix(".new").replace(file)
