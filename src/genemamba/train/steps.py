"""What all training runs share: weight decay, learning rate schedules and saved states."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from genemamba._files import replacing
from genemamba.errors import InputError


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
    """Rise to 1 in the first fraction `warmup` of the steps, then fall to 0 as a cosine."""
    rise, fallen = _rise_and_fall(step, steps, warmup)
    return rise * 0.5 * (1 + math.cos(math.pi * fallen))


def warm_linear(step: int, steps: int, warmup: float) -> float:
    """Rise to 1 in the first fraction `warmup` of the steps, then fall to 0 linearly."""
    rise, fallen = _rise_and_fall(step, steps, warmup)
    return rise * (1 - fallen)


def _rise_and_fall(step: int, steps: int, warmup: float) -> tuple[float, float]:
    warm = max(1, round(warmup * steps))
    if step < warm:
        return (step + 1) / warm, 0.0
    return 1.0, (step - warm) / max(1, steps - warm)


def save_state(state: dict[str, Any], file: Path) -> None:
    """Write a state, whole or not at all."""
    with replacing(file) as new:
        torch.save(state, new)


def load_state(file: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Read a state to the CPU; `mapped` leaves tensors on disk until they are used."""
    try:
        return torch.load(file, weights_only=True, map_location="cpu", mmap=mapped)
    except Exception as error:  # a damaged file can raise anything
        raise InputError(
            f"{file} is damaged ({error})", "delete the folder and start again"
        ) from None
