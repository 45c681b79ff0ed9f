"""How a CPU reads without gradients: matrix products by torch, all between them compiled.

What the first layer projects is the same for a gene in every cell, and is looked up. One pass takes
a projection, from either end, convolves it and scans it; another gates and normalises. Neither
flips, pads or copies; they compute in float32 whatever is stored (see
:mod:`~genemamba.network.passes`).

Shapes: B cells, L tokens, D model width, E inner width, H heads, K channels of the convolution,
T = E + K + H what the input projection gives, V vocabulary.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genemamba.network import passes
from genemamba.network.backend import MixerWeights
from genemamba.network.config import GeneMambaConfig
from genemamba.network.lanes import TAPS
from genemamba.network.ssd import decays

A = TypeVar("A")
_ROWS = 64  # of a product at least


def suits(t: Tensor, config: GeneMambaConfig | None = None) -> bool:
    """Whether a tensor can be read here: on a CPU, without gradients, float32 or bfloat16.

    A layer's heads and states have to fill vectors, of at most 16.
    """
    narrow = t.dtype in (torch.float32, torch.bfloat16)
    plain = torch.is_grad_enabled() or torch.compiler.is_compiling()
    plain = plain or torch.is_autocast_enabled("cpu")  # it would choose another dtype
    if plain or not narrow or t.device.type != "cpu":
        return False
    c = config
    return c is None or not (c.headdim % 16 or c.d_state % 16 or c.d_conv > TAPS)


class Prepared(NamedTuple):
    """A mixer's small weights as the passes take them."""

    dt_bias: Tensor
    A: Tensor
    taps: np.ndarray
    bias: np.ndarray
    skip: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, weights: MixerWeights) -> Prepared:
        """Prepare weights, in float32."""
        none = TAPS - weights.config.d_conv
        taps = F.pad(weights.conv_KW.detach().float().t(), (0, 0, none, 0)).contiguous()
        vectors = [taps, *(w.float() for w in (weights.conv_bias_K, weights.D_H, weights.norm_E))]
        A = -torch.exp(weights.A_log_H.detach().float())
        return cls(weights.dt_bias_H.detach().float(), A, *map(_array, vectors))


class Remembered:
    """A value that is made from weights, until one of them changes."""

    def __init__(self) -> None:
        self.kept: tuple[Any, Any, Any] | None = None

    def of(self, weights: Sequence[Tensor], make: Callable[[], A]) -> A:
        """Return what was made from these weights, or `make` it."""
        if any(w.is_inference() for w in weights):  # whether they change is not known
            return make()
        state = [(id(w), w.data_ptr(), w._version) for w in weights]
        if self.kept is None or self.kept[0] != state:
            self.kept = state, weights, make()  # the weights, so that no other has their id
        return cast("A", self.kept[2])

    def __getstate__(self) -> dict[str, Any]:
        return {"kept": None}  # copies and files make it again


def read(
    config: GeneMambaConfig,
    prepared: Prepared,
    projected_BLT: Tensor,
    segment_BL: Tensor | None,
    directions: int,
    summed: bool,
) -> Tensor:
    """Mix, gate and normalise in the order of the cell, forwards (1) or both ways (2 directions).

    Returns
    -------
    Tensor, directions × B × L × E; if `summed`, 1 × B × L × E, which the next call may overwrite.
    """
    c, own = config, prepared
    rows, length, _ = projected_BLT.shape
    projected_BLT = projected_BLT.contiguous()
    dt = F.softplus(projected_BLT[..., -c.n_heads :] + own.dt_bias)
    if segment_BL is None:
        segment_BL = torch.zeros(rows, length, dtype=torch.int64)
    shape = (directions, rows, length, c.d_inner)
    y = _scratch("y", projected_BLT.dtype, *shape) if summed else projected_BLT.new_empty(shape)
    projected, out = _array(projected_BLT), _array(y)
    times = [_array(t) for t in (dt, decays(dt, own.A), segment_BL.long().contiguous())]
    given = (projected, *times, own.taps, own.bias, own.skip, out)
    _spread(directions * rows, lambda first, last: passes.scan(first, last, rows, *given))
    how = (summed, np.float32(c.norm_eps), own.scale, projected, out)
    _spread(rows * length, lambda first, last: passes.gate(first, last, *how))
    return y[:1] if summed else y


def project(u_BLD: Tensor, weight: Tensor) -> Tensor:
    """Multiply by `weight`, T × D; B × L × T, which the next call may overwrite."""
    tokens = u_BLD.flatten(0, 1)
    out = _scratch("projected", u_BLD.dtype, len(tokens), len(weight))
    return torch.mm(tokens, weight.t(), out=out).unflatten(0, u_BLD.shape[:2])


class GeneProjections:
    """What the first layer projects each gene to: the same in every cell, so it is computed once.

    Rows are filled as genes occur, T numbers for each of V tokens. Threads may share it.
    """

    def __init__(
        self, table_VD: Tensor, norm: Callable[[Tensor], Tensor], weight_TD: Tensor
    ) -> None:
        self.table, self.norm, self.weight = table_VD, norm, weight_TD
        with torch.inference_mode(False):  # else they could be filled in that mode only
            self.rows = torch.empty(len(table_VD), len(weight_TD), dtype=weight_TD.dtype)
            self.filled = torch.zeros(len(table_VD), dtype=torch.bool)

    def of(self, ids_BL: Tensor) -> Tensor:
        """Return the projections of tokens, B × L × T, which the next call may overwrite."""
        ids = ids_BL.flatten()
        missing = ids[~self.filled[ids]].unique()
        if len(missing):  # in float32 a product's rounding changes with few rows
            missing = F.pad(missing, (0, -len(missing) % _ROWS), value=int(missing[0]))
            self.rows[missing] = self.norm(self.table[missing]) @ self.weight.t()
            self.filled[missing] = True
        out = _scratch("projected", self.rows.dtype, len(ids), self.rows.shape[1])
        return torch.index_select(self.rows, 0, ids, out=out).unflatten(0, ids_BL.shape)


def normalise(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Scale every token to a root mean square of 1, and its channels by `weight`."""
    tokens, out = x.reshape(-1, x.shape[-1]), torch.empty(x.shape, dtype=x.dtype)
    arrays = [_array(t) for t in (weight.float(), tokens, out.view_as(tokens))]
    eps_32 = np.float32(eps)
    _spread(len(tokens), lambda first, last: passes.normalise(first, last, eps_32, *arrays))
    return out


class _Kept(threading.local):
    """Scratch buffers of this thread by name; ``None`` if they are not kept between calls."""

    buffers: dict[str, Tensor] | None = None


_kept = _Kept()


def keep_buffers(keep: bool = True) -> None:
    """Keep the scratch buffers of this thread for its next calls, or drop them.

    The system clears new memory: for rows beyond 2,048 tokens that would take as long as reading.
    """
    _kept.buffers = {} if keep else None


def _scratch(name: str, dtype: torch.dtype, *shape: int) -> Tensor:
    """Return an uninitialised tensor."""
    if _kept.buffers is None:
        return torch.empty(shape, dtype=dtype)
    n, buffer = math.prod(shape), _kept.buffers.get(name)
    if buffer is None or len(buffer) < n or buffer.dtype != dtype:
        _kept.buffers[name] = buffer = torch.empty(n, dtype=dtype)
    return buffer[:n].view(shape)


def _array(t: Tensor) -> np.ndarray:
    """Return a tensor's own memory; bfloat16, which numpy lacks, as its bits."""
    t = t.detach()
    return t.view(torch.int16).numpy().view(np.uint16) if t.dtype == torch.bfloat16 else t.numpy()


def _spread(n: int, f: Callable[[int, int], None]) -> None:
    """Call ``f(first, last)`` on equal parts of n, one for each of torch's threads."""
    parts = min(torch.get_num_threads(), n)
    ends = [n * part // parts for part in range(parts + 1)]
    others = [_threads(parts).submit(f, *ends[k : k + 2]) for k in range(1, parts)]
    f(*ends[:2])
    for other in others:
        other.result()


@cache
def _threads(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n, thread_name_prefix="genemamba")


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_threads.cache_clear)  # a child has no threads
