"""How a CPU reads without gradients: matrix products by torch, all between them compiled.

The arithmetic of :mod:`~genemamba.network.ssd` in as few passes as possible. One takes the
projection, in place and from either end, convolves it and lays it out in chunks; one carries states
from chunk to chunk; one gates and normalises. So nothing is flipped, padded or copied. A pass works
token by token in the first-level cache, in float32 whatever is stored.

Shapes: B cells, R rows (cells × directions), L tokens, C chunks of Q tokens, E inner width,
H heads, N states, K = E + 2 N channels of the convolution, W taps, T = E + K + H.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genemamba.network import passes
from genemamba.network.backend import MixerWeights
from genemamba.network.ssd import decays, safe_chunk


def suits(projected: Tensor) -> bool:
    """Whether a tensor can be read here: on a CPU, without gradients, float32 or bfloat16."""
    narrow = projected.dtype in (torch.float32, torch.bfloat16)
    plain = torch.is_grad_enabled() or torch.compiler.is_compiling()
    plain = plain or torch.is_autocast_enabled("cpu")  # it would choose another dtype
    return projected.device.type == "cpu" and narrow and not plain


def read(
    weights: MixerWeights,
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
    c, dtype = weights.config, projected_BLT.dtype
    rows, length, _ = projected_BLT.shape
    projected_BLT = projected_BLT.contiguous()
    dt = F.softplus(projected_BLT[..., -c.n_heads :].float() + weights.dt_bias_H.float())
    a = decays(dt, -torch.exp(weights.A_log_H.float()))
    size = min(safe_chunk(own, c.chunk_size) for own in (a, a.flip(1))[:directions])
    chunks = -(-length // size)
    n = directions * rows * chunks
    if segment_BL is None:
        segment_BL = torch.zeros(rows, length, dtype=torch.int64)

    x, scaled, y = _scratch("x", dtype, 3, n, size, c.n_heads, c.headdim)
    b, kept, reading, carried = _scratch("b", dtype, 4, n, size, c.d_state)
    growth, joined = _scratch("growth", torch.float32, n, size, c.n_heads), torch.empty(n)
    scores = _scratch("scores", dtype, n, size, size)
    gained = _scratch("gained", dtype, n, c.d_state, c.d_inner)
    given = (projected_BLT, dt, a, segment_BL.long().contiguous())
    taps = (weights.conv_KW.float().t().contiguous(), weights.conv_bias_K.float())
    chunked = (x, scaled, b, kept, reading, carried, growth, joined)
    arrays = [_array(t) for t in (*given, *taps, *chunked)]
    _spread(n, lambda first, last: passes.lay_out(first, last, rows, *arrays))

    scaled = scaled.flatten(2)
    torch.bmm(reading, b.transpose(1, 2), out=scores)
    segment, masked = _array(given[3]), _array(scores)
    _spread(n, lambda first, last: passes.mask(first, last, rows, segment, masked))
    torch.bmm(kept.transpose(1, 2), scaled, out=gained)
    half = growth[:, -1].repeat_interleave(c.headdim, 1)  # of a chunk's decay
    states = [_array(t) for t in (half, half.square() * joined[:, None], gained)]
    n_states = directions * rows * c.d_state
    _spread(n_states, lambda first, last: passes.carry(first, last, chunks, *states))
    torch.bmm(scores, scaled, out=y.flatten(2)).baddbmm_(carried, gained)

    shape = (1 if summed else directions, rows, length, c.d_inner)
    out = _scratch("out", dtype, *shape) if summed else torch.empty(shape, dtype=dtype)
    scales = (weights.D_H.float(), weights.norm_E.float())
    arrays = [_array(t) for t in (*scales, y, x, growth, projected_BLT, out)]
    how = (directions, summed, np.float32(c.norm_eps))
    _spread(rows * length, lambda first, last: passes.gate(first, last, *how, *arrays))
    return out


def project(u_BLD: Tensor, weight: Tensor) -> Tensor:
    """Multiply by `weight`, T × D; B × L × T, which the next call may overwrite."""
    tokens = u_BLD.flatten(0, 1)
    out = _scratch("projected", u_BLD.dtype, len(tokens), len(weight))
    return torch.mm(tokens, weight.t(), out=out).unflatten(0, u_BLD.shape[:2])


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
