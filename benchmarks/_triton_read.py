"""An experiment: convolution and scan in one Triton kernel that reads a cell from both ends.

It has run in Triton's interpreter on a CPU only, in float32, and was never timed on a GPU. It
returns to the package if it beats the kernels of mamba-ssm there. It has no gradients.

One program takes one head of one row in one direction. It goes through the tokens chunk by chunk
with the state in registers: nothing is flipped, and neither the convolved channels nor states of
chunks are written to memory. Sizes of head and state are powers of two from 16.

Shapes: B rows, L tokens, T what the input projection gives (z: E, xBC: K, dt: H), E inner width,
K channels of the convolution, W its taps, H heads, P head channels, N states, Q chunk.
"""

from __future__ import annotations

from types import MethodType
from typing import TypeVar

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from genemamba.network.backend import MixerWeights
from genemamba.network.mamba2 import Mamba2
from genemamba.network.ssd import MOST_DECAY

M = TypeVar("M", bound=nn.Module)

_CHUNK = 64


def use(network: M) -> M:
    """Let this kernel mix the tokens of all layers, and of copies made from now on."""
    for part in network.modules():
        if isinstance(part, Mamba2):
            part.mix_both = MethodType(_mix_both, part)
    return network


def _mix_both(mixer: Mamba2, projected_BLT: Tensor, segment_BL: Tensor | None) -> list[Tensor]:
    return list(mix_both(mixer.weights, projected_BLT, segment_BL))


def mix_both(weights: MixerWeights, projected_BLT: Tensor, segment_BL: Tensor | None) -> Tensor:
    """Convolve and scan from either end; 2 × B × L × E, both in the order of the cell."""
    c = weights.config
    rows, length, _ = projected_BLT.shape
    projected = projected_BLT.contiguous()
    out = projected.new_empty(2, rows, length, c.d_inner)
    with torch.cuda.device_of(projected):  # Triton starts kernels on the current GPU
        _kernel[(rows, c.n_heads, 2)](
            projected,
            projected if segment_BL is None else segment_BL.to(torch.int32).contiguous(),
            weights.conv_KW.float().contiguous(),
            weights.conv_bias_K.float(),
            weights.dt_bias_H.float(),
            -torch.exp(weights.A_log_H.float()),
            weights.D_H.float(),
            out,
            rows,
            length,
            c.d_inner,
            MOST_DECAY,
            HAS_SEGMENT=segment_BL is not None,
            Q=_CHUNK,
            N=c.d_state,
            P=c.headdim,
            W=c.d_conv,
        )
    return out


@triton.jit
def _convolved(
    row_ptr, segment_ptr, weight_ptr, bias_ptr, t, place, segment, step, k, inner, width,
    HAS_SEGMENT: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Convolve some channels of a chunk and apply SiLU, in float32."""
    out = tl.zeros((t.shape[0], k.shape[0]), tl.float32) + tl.load(bias_ptr + k)[None, :]
    for shift in tl.static_range(W):
        other = t - step * shift
        near = (segment != -3) & (place >= shift)
        if HAS_SEGMENT:
            near = near & (tl.load(segment_ptr + other, mask=near, other=-4) == segment)
        at = other.to(tl.int64)[:, None] * width + (inner + k)[None, :]
        x = tl.load(row_ptr + at, mask=near[:, None], other=0.0).to(tl.float32)
        out += x * tl.load(weight_ptr + k * W + (W - 1 - shift))[None, :]
    return out * tl.sigmoid(out)


@triton.jit
def _kernel(
    projected_ptr, segment_ptr, weight_ptr, bias_ptr, dt_bias_ptr, A_ptr, skip_ptr, out_ptr,
    rows, length, inner, most_decay,
    HAS_SEGMENT: tl.constexpr, Q: tl.constexpr, N: tl.constexpr, P: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    row, head, way = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    channels = inner + 2 * N
    width = inner + channels + inner // P
    step = 1 - 2 * way
    dtype = projected_ptr.dtype.element_ty
    row_ptr = projected_ptr + row.to(tl.int64) * length * width
    row_segment = segment_ptr + row.to(tl.int64) * length
    row_out = out_ptr + (way.to(tl.int64) * rows + row) * length * inner
    q, p, n = tl.arange(0, Q), tl.arange(0, P), tl.arange(0, N)
    A, skip, dt_bias = tl.load(A_ptr + head), tl.load(skip_ptr + head), tl.load(dt_bias_ptr + head)
    state = tl.zeros((N, P), tl.float32)
    before = tl.full((), -2, tl.int32)  # segment of the last token of the chunk before
    for chunk in range(tl.cdiv(length, Q)):
        place = chunk * Q + q
        there = place < length
        t = tl.where(way == 0, place, length - 1 - place)
        if HAS_SEGMENT:
            segment = tl.load(row_segment + t, mask=there, other=-3)
        else:
            segment = tl.where(there, 0, -3)
        x = _convolved(row_ptr, row_segment, weight_ptr, bias_ptr, t, place, segment, step,
                       head * P + p, inner, width, HAS_SEGMENT, W)  # fmt: skip
        B = _convolved(row_ptr, row_segment, weight_ptr, bias_ptr, t, place, segment, step,
                       inner + n, inner, width, HAS_SEGMENT, W)  # fmt: skip
        C = _convolved(row_ptr, row_segment, weight_ptr, bias_ptr, t, place, segment, step,
                       inner + N + n, inner, width, HAS_SEGMENT, W)  # fmt: skip
        at = t.to(tl.int64) * width + (inner + channels + head)
        dt = tl.load(row_ptr + at, mask=there, other=0.0).to(tl.float32) + dt_bias
        dt = tl.where(there, tl.where(dt > 20, dt, tl.log(1 + tl.exp(dt))), 0.0)
        a = tl.maximum(dt * A, -most_decay)  # as in ssd.decays
        total = tl.cumsum(a, 0)  # Q
        last = tl.sum(a, 0)
        last_segment = tl.sum(tl.where(q == Q - 1, segment, 0), 0)
        sees = (q[:, None] >= q[None, :]) & (segment[:, None] == segment[None, :])
        decay = tl.exp(tl.where(sees, total[:, None] - total[None, :], float("-inf")))
        C = C.to(dtype)
        written = x * dt[:, None]
        scores = tl.dot(C, tl.trans(B.to(dtype)), input_precision="ieee") * decay
        y = tl.dot(scores.to(dtype), written.to(dtype), input_precision="ieee")
        read = tl.where(segment == before, tl.exp(total), 0.0)
        y += tl.dot(C, state.to(dtype), input_precision="ieee") * read[:, None]
        y += skip * x
        out_at = t.to(tl.int64)[:, None] * inner + (head * P + p)[None, :]
        tl.store(row_out + out_at, y.to(dtype), mask=there[:, None])
        kept = tl.where(segment == last_segment, tl.exp(last - total), 0.0)
        carried = tl.where(last_segment == before, tl.exp(last), 0.0)
        added = tl.dot(tl.trans(B.to(dtype)), (written * kept[:, None]).to(dtype),
                       input_precision="ieee")  # fmt: skip
        state = state * carried + added
        before = last_segment
