"""Convolution and scan by the CUDA kernels of causal-conv1d and mamba-ssm, with gradients.

They are optional and imported when first used.

Shapes: R rows (cells × directions), L tokens, K channels of the convolution, H heads, E inner
width.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from genemamba.errors import InputError
from genemamba.network.backend import MixerWeights
from genemamba.network.config import GeneMambaConfig

_CHUNK = 256  # tokens a program of the scan takes; the result does not depend on it


def mix(
    weights: MixerWeights, xbc_RLK: Tensor, dt_RLH: Tensor, segment_RL: Tensor | None
) -> Tensor:
    """Convolve and scan along the tokens, left to right; R × L × E."""
    most = most_rows(weights.config, xbc_RLK.shape[1])
    if len(xbc_RLK) <= most:
        return _mix(weights, xbc_RLK, dt_RLH, segment_RL)
    segments = [None] * len(xbc_RLK) if segment_RL is None else segment_RL.split(most)
    pieces = zip(xbc_RLK.split(most), dt_RLH.split(most), segments, strict=False)
    return torch.cat([_mix(weights, *piece) for piece in pieces])


def most_rows(config: GeneMambaConfig, length: int) -> int:
    """Return how many rows the kernels can take at once: they count in 32 bits and overflow.

    Raises
    ------
    InputError
        If a single row is too long.
    """
    widest = config.d_inner + config.d_xbc + config.n_heads  # of what is read with one stride
    most = (2**31 - 1) // (length * max(widest, _CHUNK))
    if not most:
        raise InputError(
            f"a row of {length:,} tokens is too long for the kernels", "use backend='torch'"
        )
    return most


def _mix(
    weights: MixerWeights, xbc_RLK: Tensor, dt_RLH: Tensor, segment_RL: Tensor | None
) -> Tensor:
    convolve, scan = _kernels()
    c, dtype = weights.config, xbc_RLK.dtype
    segment = None if segment_RL is None else numbered(segment_RL)
    xbc = convolve(
        xbc_RLK.contiguous().transpose(1, 2),  # seen as R × K × L, channels last
        weights.conv_KW.to(dtype),
        weights.conv_bias_K.to(dtype),
        seq_idx=segment,
        activation="silu",
    ).transpose(1, 2)
    x, b_RLN, c_RLN = xbc.split([c.d_inner, c.d_state, c.d_state], dim=-1)
    y = scan(
        x.unflatten(-1, (c.n_heads, c.headdim)),
        dt_RLH,
        -torch.exp(weights.A_log_H.float()),
        b_RLN.unsqueeze(2),
        c_RLN.unsqueeze(2),
        chunk_size=_CHUNK,
        D=weights.D_H.float(),
        dt_bias=weights.dt_bias_H.float(),
        dt_softplus=True,
        seq_idx=segment,
    )
    return y.flatten(2)


def numbered(segment_RL: Tensor) -> Tensor:
    """Count the cells of a row from 0, in int32: the scan's state begins in number 0."""
    change = segment_RL[:, 1:] != segment_RL[:, :-1]
    return F.pad(change.cumsum(1), (1, 0)).to(torch.int32).contiguous()


@lru_cache
def _kernels() -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    # Triton's products of float32 round to TF32 unless this is set before its import
    os.environ.setdefault("TRITON_F32_DEFAULT", "ieee")
    from causal_conv1d import causal_conv1d_fn
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined

    return causal_conv1d_fn, mamba_chunk_scan_combined
