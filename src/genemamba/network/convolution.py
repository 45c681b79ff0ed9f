"""The short convolution before the scan: depthwise, causal, and within one cell.

Shapes: R rows, L tokens, K channels, W taps. One operator, opaque to ``torch.compile``: fused with
its neighbours, shifted slices would cost more than the rest of a layer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.library.custom_op("genemamba::convolve", mutates_args=())
def convolve(x_RLK: Tensor, weight_KW: Tensor, bias_K: Tensor, segment_RL: Tensor | None) -> Tensor:
    """Return ``out_t = bias + Σ_s weight[W - 1 - s] · x_{t - s}`` over s < W in t's segment."""
    weights = weight_KW.flip(1).unbind(1)  # by how far back they look, 0 first
    out = _correlate(x_RLK, weight_KW, bias_K)[:, : x_RLK.shape[1]].contiguous()
    for row, place in _edges(segment_RL, -len(weights)):
        out[row, place] = bias_K + _near(x_RLK, weights, segment_RL, row, place, -1)
    return out


convolve.register_fake(lambda x, *_: x.new_empty(x.shape))


@torch.library.custom_op("genemamba::convolve_backward", mutates_args=())
def convolve_backward(
    grad_RLK: Tensor, x_RLK: Tensor, weight_KW: Tensor, segment_RL: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, weight and bias."""
    weights, length = weight_KW.flip(1).unbind(1), x_RLK.shape[1]
    whole = _correlate(grad_RLK, weight_KW.flip(1), None)
    back = whole[:, len(weights) - 1 :].contiguous()  # the transpose looks ahead
    for row, place in _edges(segment_RL, len(weights)):
        back[row, place] = _near(grad_RLK, weights, segment_RL, row, place, 1)
    taps = []
    for shift in range(min(len(weights), length)):
        product = grad_RLK[:, shift:] * x_RLK[:, : length - shift]
        if segment_RL is not None:
            differ = segment_RL[:, shift:] != segment_RL[:, : length - shift]
            product[torch.nonzero(differ, as_tuple=True)] = 0  # fewer bytes than a mask
        taps.append(_sum(product))
    taps += [torch.zeros_like(taps[0])] * (weight_KW.shape[1] - len(taps))
    return back, torch.stack(taps[::-1], dim=1), _sum(grad_RLK)


@convolve_backward.register_fake
def _(grad, x, weight, segment):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape), weight.new_empty(weight.shape), weight.new_empty(len(weight))


def _correlate(x_RLK: Tensor, weight_KW: Tensor, bias_K: Tensor | None) -> Tensor:
    """Return all L + W - 1 sums of whole rows, as images of height 1, channels last."""
    channels, width = weight_KW.shape
    x = x_RLK.contiguous().unsqueeze(1).permute(0, 3, 1, 2)  # R K 1 L
    out = F.conv2d(x, weight_KW[:, None, None], bias_K, padding=(0, width - 1), groups=channels)
    return out.permute(0, 2, 3, 1).squeeze(1)


def _edges(segment_RL: Tensor | None, reach: int) -> list[tuple[Tensor, Tensor]]:
    """Rows and places of the tokens with another segment in reach; no pair without segments."""
    if segment_RL is None:
        return []
    length, near = segment_RL.shape[1], torch.zeros_like(segment_RL, dtype=torch.bool)
    for shift in range(1, min(abs(reach), length)):
        differ = segment_RL[:, shift:] != segment_RL[:, :-shift]
        (near[:, shift:] if reach < 0 else near[:, :-shift]).logical_or_(differ)
    rows, places = torch.nonzero(near, as_tuple=True)
    return [(rows, places)]


def _near(
    x_RLK: Tensor,
    weights: tuple[Tensor, ...],
    segment_RL: Tensor | None,
    row: Tensor,
    place: Tensor,
    direction: int,
) -> Tensor:
    """Sum over those neighbours of some tokens that are in the token's own segment."""
    assert segment_RL is not None
    length, own = x_RLK.shape[1], segment_RL[row, place]
    total = torch.zeros_like(x_RLK[row, place])
    for shift, weight in enumerate(weights):
        other = place + direction * shift
        there = other.clamp(0, length - 1)
        same = (other == there) & (segment_RL[row, there] == own)
        total += torch.where(same[:, None], x_RLK[row, there], 0) * weight
    return total


def _sum(x_RLK: Tensor) -> Tensor:
    """Sum over rows and tokens as a matrix product, which is fast and sums in float32."""
    flat = x_RLK.reshape(-1, x_RLK.shape[-1])
    return (flat.new_ones(1, len(flat)) @ flat).squeeze(0)


def _keep(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    x, weight, _, segment = inputs
    ctx.has_segment = segment is not None
    ctx.save_for_backward(x, weight, *([segment] if ctx.has_segment else []))


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    x, weight, *segment = ctx.saved_tensors
    return *convolve_backward(grad, x, weight, segment[0] if segment else None), None


convolve.register_autograd(_backward, setup_context=_keep)
