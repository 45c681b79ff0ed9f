"""How a CPU reads without gradients: matrix products by torch, all between them compiled.

The arithmetic of :mod:`~genemamba.network.ssd` in as few passes as there can be. One takes what was
projected, in place and from either end, convolves it and lays it out in chunks; one carries states
from chunk to chunk; one gates and normalises. So nothing is flipped, padded or copied. A pass works
token by token in the first-level cache, in float32 whatever is stored.

Shapes: B cells, R rows (cells × ways), L tokens, C chunks of Q tokens, E inner width, H heads,
N states, K = E + 2 N channels of the convolution, W taps, T what the input projection gives.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genemamba.network import passes
from genemamba.network.ssd import decays, safe_chunk

if TYPE_CHECKING:
    from genemamba.network.mamba2 import Mamba2


def suits(projected: Tensor) -> bool:
    """Whether it can be read so: on a CPU, no gradients, float32 or bfloat16 as it stands."""
    narrow = projected.dtype in (torch.float32, torch.bfloat16)
    plain = torch.is_grad_enabled() or torch.compiler.is_compiling()
    plain = plain or torch.is_autocast_enabled("cpu")  # products would be of other numbers
    return projected.device.type == "cpu" and narrow and not plain


def read(
    mixer: Mamba2, projected_BLT: Tensor, segment_BL: Tensor | None, *, ways: int, added: bool
) -> Tensor:
    """Mix, gate and normalise what was projected, in the order of the cell.

    Parameters
    ----------
    ways
        1 reads forwards, 2 backwards as well.
    added
        Whether to add both ways up.

    Returns
    -------
    Tensor, ways (or 1, if added; then the next call may use its memory) × B × L × E.
    """
    c, dtype = mixer.config, projected_BLT.dtype
    rows, length, _ = projected_BLT.shape
    projected_BLT = projected_BLT.contiguous()
    dt = F.softplus(projected_BLT[..., -c.n_heads :].float() + mixer.dt_bias.float())
    a = decays(dt, -torch.exp(mixer.A_log.float()))
    size = min(safe_chunk(way, c.chunk_size) for way in (a, a.flip(1))[:ways])
    chunks = -(-length // size)
    n = ways * rows * chunks
    if segment_BL is None:
        segment_BL = torch.zeros(rows, length, dtype=torch.int64)

    x, scaled, y = _room("x", dtype, 3, n, size, c.n_heads, c.headdim)
    b, kept, reading, carried = _room("b", dtype, 4, n, size, c.d_state)
    growth, joined = _room("growth", torch.float32, n, size, c.n_heads), torch.empty(n)
    scores = _room("scores", dtype, n, size, size)
    gained = _room("gained", dtype, n, c.d_state, c.d_inner)
    assert mixer.conv1d.bias is not None
    given = (projected_BLT, dt, a, segment_BL.long().contiguous())
    weights = (mixer.conv1d.weight.squeeze(1).float().t().contiguous(), mixer.conv1d.bias.float())
    laid = (x, scaled, b, kept, reading, carried, growth, joined)
    arrays = [_array(t) for t in (*given, *weights, *laid)]
    _spread(n, lambda first, last: passes.lay(first, last, rows, *arrays))

    scaled = scaled.flatten(2)
    torch.bmm(reading, b.transpose(1, 2), out=scores)
    segment, masked = _array(given[3]), _array(scores)
    _spread(n, lambda first, last: passes.mask(first, last, rows, segment, masked))
    torch.bmm(kept.transpose(1, 2), scaled, out=gained)
    half = growth[:, -1].repeat_interleave(c.headdim, 1)  # of a chunk's decay
    states = [_array(t) for t in (half, half.square() * joined[:, None], gained)]
    n_states = ways * rows * c.d_state
    _spread(n_states, lambda first, last: passes.carry(first, last, chunks, *states))
    torch.bmm(scores, scaled, out=y.flatten(2)).baddbmm_(carried, gained)

    shape = (1 if added else ways, rows, length, c.d_inner)
    out = _room("out", dtype, *shape) if added else torch.empty(shape, dtype=dtype)
    weights = (mixer.D.float(), mixer.norm.weight.float())
    arrays = [_array(t) for t in (*weights, y, x, growth, projected_BLT, out)]
    how = (ways, added, np.float32(c.norm_eps))
    _spread(rows * length, lambda first, last: passes.gate(first, last, *how, *arrays))
    return out


def project(u_BLD: Tensor, weight: Tensor) -> Tensor:
    """Multiply by `weight`, T × D, into memory that the next call may use; B × L × T."""
    tokens = u_BLD.flatten(0, 1)
    out = _room("projected", u_BLD.dtype, len(tokens), len(weight))
    return torch.mm(tokens, weight.t(), out=out).unflatten(0, u_BLD.shape[:2])


def normalise(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Bring every token to a root mean square of 1, and scale its channels by `weight`."""
    tokens, out = x.reshape(-1, x.shape[-1]), torch.empty(x.shape, dtype=x.dtype)
    arrays = [_array(t) for t in (weight.float(), tokens, out.view_as(tokens))]
    eps_32 = np.float32(eps)
    _spread(len(tokens), lambda first, last: passes.normalise(first, last, eps_32, *arrays))
    return out


class _Rooms(threading.local):
    """Arrays of this thread, by name, kept for the next read; ``None`` where none is kept."""

    kept: dict[str, Tensor] | None = None


_rooms = _Rooms()


def keep_rooms(keep: bool = True) -> None:
    """Let reads of this thread use each other's arrays, until told not to or the thread ends.

    The system clears new memory: for rows beyond 2,048 tokens that would take as long as reading.
    """
    _rooms.kept = {} if keep else None


def _room(name: str, dtype: torch.dtype, *shape: int) -> Tensor:
    """Give an array with nothing in it."""
    if _rooms.kept is None:
        return torch.empty(shape, dtype=dtype)
    n, kept = math.prod(shape), _rooms.kept.get(name)
    if kept is None or len(kept) < n or kept.dtype != dtype:
        _rooms.kept[name] = kept = torch.empty(n, dtype=dtype)
    return kept[:n].view(shape)


def _array(t: Tensor) -> np.ndarray:
    """Give a tensor's own memory; bfloat16, which numpy has not, as its bits."""
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
    os.register_at_fork(after_in_child=_threads.cache_clear)  # a child has none of the threads
