"""How a CPU reads without gradients: matrix products by torch, all between them compiled.

The arithmetic of :mod:`~genemamba.model.ssd` in as few passes as there can be. One takes what was
projected, in place and from either end, convolves it and lays it out in chunks; one carries states
from chunk to chunk; one gates and normalises. So nothing is flipped, padded or copied. A pass works
token by token in the first-level cache, in float32 whatever is stored.

Shapes: B cells, R rows (cells × ways), L tokens, C chunks of Q tokens, E inner width, H heads,
N states, K = E + 2 N channels of the convolution, W taps, T what the input projection gives.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genemamba.model.passes import carry, gate, lay, mask
from genemamba.model.ssd import most_decay, safe_chunk

if TYPE_CHECKING:
    from genemamba.model.mamba2 import Mamba2


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
    Tensor, ways (or 1, if added) × B × L × E.
    """
    c, dtype = mixer.config, projected_BLT.dtype
    rows, length, _ = projected_BLT.shape
    projected_BLT = projected_BLT.contiguous()
    dt = F.softplus(projected_BLT[..., -c.n_heads :].float() + mixer.dt_bias.float())
    limit = most_decay(torch.float32)
    a = (dt * -torch.exp(mixer.A_log.float())).clamp(min=-limit)
    size = min(safe_chunk(way, c.chunk_size, limit) for way in (a, a.flip(1))[:ways])
    chunks = -(-length // size)
    n = ways * rows * chunks
    if segment_BL is None:
        segment_BL = torch.zeros(rows, length, dtype=torch.int64)

    x, scaled = torch.empty(2, n, size, c.n_heads, c.headdim, dtype=dtype)
    b, kept, reading, carried = torch.empty(4, n, size, c.d_state, dtype=dtype)
    growth, joined = torch.empty(n, size, c.n_heads), torch.empty(n)
    assert mixer.conv1d.bias is not None
    given = (projected_BLT, dt, a, segment_BL.long().contiguous())
    weights = (mixer.conv1d.weight.squeeze(1).float().t().contiguous(), mixer.conv1d.bias.float())
    laid = (x, scaled, b, kept, reading, carried, growth, joined)
    arrays = [_array(t) for t in (*given, *weights, *laid)]
    _spread(n, lambda first, last: lay(first, last, rows, *arrays))

    scores, scaled = torch.bmm(reading, b.transpose(1, 2)), scaled.flatten(2)
    segment, masked = _array(given[3]), _array(scores)
    _spread(n, lambda first, last: mask(first, last, rows, segment, masked))
    gained = torch.bmm(kept.transpose(1, 2), scaled)
    half = growth[:, -1].repeat_interleave(c.headdim, 1)  # of a chunk's decay
    states = [_array(t) for t in (half, half.square() * joined[:, None], gained)]
    n_states = ways * rows * c.d_state
    _spread(n_states, lambda first, last: carry(first, last, chunks, *states))
    y = torch.bmm(scores, scaled).baddbmm_(carried, gained).view_as(x)

    out = torch.empty(1 if added else ways, rows, length, c.d_inner, dtype=dtype)
    weights = (mixer.D.float(), mixer.norm.weight.float())
    arrays = [_array(t) for t in (*weights, y, x, growth, projected_BLT, out)]
    how = (ways, added, np.float32(c.norm_eps))
    _spread(rows * length, lambda first, last: gate(first, last, *how, *arrays))
    return out


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


os.register_at_fork(after_in_child=_threads.cache_clear)  # a child has none of the threads
