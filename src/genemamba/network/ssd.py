"""The state-space scan of Mamba-2 (SSD), in chunks.

Shapes: R rows (cells × directions), L tokens, H heads, P head channels, N states, Q chunk.

For every head, with ``a_t = max(dt_t · A, -7.76)`` (A < 0; see :func:`decays`)::

    h_t = exp(a_t) h_{t-1} + dt_t B_t x_tᵀ          h is N × P
    y_t = C_tᵀ h_t

``segment`` says which cell a token belongs to: state never passes from one segment to the next.
Padding is one more segment, so it can change nothing. The tests compare with this recurrence.

Source: Dao & Gu, *Transformers are SSMs*, ICML 2024, arXiv:2405.21060.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_COMPILED_CHUNK = 16
_LIMIT = 1.4 * math.log(torch.finfo(torch.float32).max)
"""Most decay of a chunk: exp(-limit) is 0, and two factors can share it without overflow."""
MOST_DECAY = _LIMIT / _COMPILED_CHUNK
"""Most decay at one token: 0.04 % of the state stays."""


def decays(dt: Tensor, A: Tensor) -> Tensor:
    """Return the log of the fraction of the state that each token leaves, at least -`MOST_DECAY`.

    This package's backends share the bound: a model has to forget as it did in training, where
    compiled code cannot choose its chunks by the data and so bounds the decay.
    """
    return (dt * A).clamp(min=-MOST_DECAY)


def scan(
    x_RLHP: Tensor,
    dt_RLH: Tensor,
    A_H: Tensor,
    B_RLN: Tensor,
    C_RLN: Tensor,
    segment_RL: Tensor | None = None,
    *,
    chunk_size: int = 64,
) -> Tensor:
    """Scan chunk by chunk with matrix products; R × L × H × P in the dtype of the input.

    Within a chunk ``exp(s_i - s_j)`` (s the running sum of a) is split into ``exp(s_i - m)`` and
    ``exp(m - s_j)`` around the chunk's middle m. The Q × Q matrix ``C Bᵀ`` is then shared by all
    heads and no Q × Q work is left per head. The split is exact as long as neither factor
    overflows; where decays are so strong that one could, the chunk is halved until none can.
    """
    a_RLH = decays(dt_RLH, A_H)
    if torch.compiler.is_compiling():  # no shape may depend on data
        chunk_size = min(chunk_size, _COMPILED_CHUNK)
    else:
        chunk_size = safe_chunk(a_RLH, chunk_size)
    pad = -x_RLHP.shape[1] % chunk_size
    length = x_RLHP.shape[1]
    if pad:
        x_RLHP = F.pad(x_RLHP, (0, 0, 0, 0, 0, pad))
        B_RLN, C_RLN, a_RLH, dt_RLH = (
            F.pad(t, (0, 0, 0, pad)) for t in (B_RLN, C_RLN, a_RLH, dt_RLH)
        )
        if segment_RL is not None:
            segment_RL = F.pad(segment_RL, (0, pad), value=-1)

    def chunked(t: Tensor) -> Tensor:
        return t.unflatten(1, (-1, chunk_size))

    x, dt, B, C = chunked(x_RLHP), chunked(dt_RLH), chunked(B_RLN), chunked(C_RLN)
    sums = chunked(a_RLH).cumsum(2)  # R C Q H
    last = sums[:, :, -1:]
    middle = last / 2
    visible, carried, kept = _visibility(segment_RL, chunk_size, x.device)

    # inside each chunk
    scores = (C @ B.transpose(-1, -2)).masked_fill(~visible, 0.0)  # R C Q Q
    into = (dt * torch.exp(middle - sums)).to(x.dtype)
    inner = scores @ (x * into[..., None]).flatten(3)  # R C Q (H P)
    y = inner.unflatten(-1, x.shape[3:]) * torch.exp(sums - middle).to(x.dtype)[..., None]

    # across chunks
    write = dt * torch.exp(last - sums)
    read = torch.exp(sums)
    decay = torch.exp(last)
    if carried is not None and kept is not None:
        write = write * kept[..., None]
        read = read * carried[..., None]
        decay = decay * carried[:, :, -1:, None]
    added = B.transpose(-1, -2) @ (x * write.to(x.dtype)[..., None]).flatten(3)  # R C N (H P)
    before = _carry(added.to(decay.dtype).unflatten(-1, x.shape[3:]), decay[:, :, 0])  # R C N H P
    across = (C @ before.flatten(3).to(x.dtype)).unflatten(-1, x.shape[3:])
    y = torch.addcmul(y, across, read.to(x.dtype)[..., None])
    return y.flatten(1, 2)[:, :length]


def safe_chunk(a_RLH: Tensor, chunk_size: int) -> int:
    """Halve the chunk until the sum of decays inside one cannot overflow an exponential."""
    steepest = -float(a_RLH.detach().min()) if a_RLH.numel() else 0.0
    if steepest * chunk_size <= _LIMIT:  # cheap bound first
        return chunk_size
    while chunk_size > _COMPILED_CHUNK:
        padded = F.pad(a_RLH.detach(), (0, 0, 0, -a_RLH.shape[1] % chunk_size))
        if -float(padded.unflatten(1, (-1, chunk_size)).sum(2).min()) <= _LIMIT:
            break
        chunk_size //= 2
    return chunk_size


def _visibility(
    segment_RL: Tensor | None, chunk_size: int, device: torch.device
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Which tokens see which: inside a chunk, from the chunk before, and from its last token."""
    causal = torch.ones(chunk_size, chunk_size, dtype=torch.bool, device=device).tril()
    if segment_RL is None:
        return causal, None, None
    segment = segment_RL.unflatten(1, (-1, chunk_size))  # R C Q
    visible = causal & (segment[..., :, None] == segment[..., None, :])
    before = F.pad(segment[:, :-1, -1:], (0, 0, 1, 0), value=-2)
    carried = segment == before
    kept = segment == segment[:, :, -1:]
    return visible, carried, kept


def _carry(added_RCNHP: Tensor, decay_RCH: Tensor) -> Tensor:
    """State at the start of every chunk."""
    state = torch.zeros_like(added_RCNHP[:, 0])
    states = []
    # unbound: the gradient of an index is a tensor of all chunks, and so quadratic in their number
    for added, decay in zip(added_RCNHP.unbind(1), decay_RCH.unbind(1), strict=True):
        states.append(state)
        state = torch.addcmul(added, state, decay[:, None, :, None])
    return torch.stack(states, dim=1)
