"""The recurrent form of a model: it reads a cell gene by gene, at a constant cost per gene.

A gene added at the end changes the whole backward reading, so a model steps forwards only, as with
``bidirectional=False``.

Shapes: B cells, D model width, H heads, P head channels, N states, W taps of the convolution,
K its channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from genemamba.network.genemamba import GeneMamba
from genemamba.network.mamba2 import Mamba2
from genemamba.network.ssd import decays


@dataclass(frozen=True)
class State:
    """What a model remembers of the genes it has read, layer by layer."""

    recent: tuple[Tensor, ...]
    """B × (W − 1) × K each: the last inputs of the convolution."""
    memory: tuple[Tensor, ...]
    """B × H × N × P each, float32 at least: the state of the scan."""


def start(model: GeneMamba, n_cells: int) -> State:
    """Return the state before the first gene."""
    c, table = model.config, model.embeddings.weight
    wide = torch.promote_types(table.dtype, torch.float32)
    recent = table.new_zeros(n_cells, c.d_conv - 1, c.d_xbc)
    memory = table.new_zeros(n_cells, c.n_heads, c.d_state, c.headdim, dtype=wide)
    return State((recent,) * c.n_layers, (memory,) * c.n_layers)


def step(model: GeneMamba, ids_B: Tensor, state: State) -> tuple[Tensor, State]:
    """Read one more gene of every cell; return its final state, B × D, and the next `State`.

    `state` is not changed, so several tokens can be tried from it.
    """
    x = model.embeddings(ids_B)
    kept = []
    for layer, recent, memory in zip(model.layers, state.recent, state.memory, strict=True):
        u = x if layer.norm is None else layer.norm(x)
        y, recent, memory = _mix(layer.mamba, u, recent, memory)
        x = layer.merge_forward(x, y)
        kept.append((recent, memory))
    recents, memories = zip(*kept, strict=True)
    return model.norm_f(x), State(recents, memories)


def _mix(
    mamba: Mamba2, u_BD: Tensor, recent_BWK: Tensor, memory_BHNP: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    c = mamba.config
    z, xbc, dt = mamba.split(mamba.in_proj(u_BD))
    window, weights = torch.cat([recent_BWK, xbc[:, None]], dim=1), mamba.weights
    xbc = F.silu((window * weights.conv_KW.T).sum(1) + weights.conv_bias_K)
    x, b_BN, c_BN = xbc.split([c.d_inner, c.d_state, c.d_state], dim=-1)
    x_BHP = x.unflatten(-1, (c.n_heads, c.headdim))
    wide = memory_BHNP.dtype
    dt_BH = F.softplus(dt.to(wide) + mamba.dt_bias.to(wide))
    decay_BH = torch.exp(decays(dt_BH, -torch.exp(mamba.A_log.to(wide))))
    write_BHP = dt_BH[..., None] * x_BHP.to(wide)
    memory = b_BN.to(wide)[:, None, :, None] * write_BHP[:, :, None]
    memory = memory.addcmul_(memory_BHNP, decay_BH[..., None, None])
    y = (c_BN.to(wide)[:, None, None] @ memory).squeeze(2).to(u_BD.dtype)
    y = torch.addcmul(y, x_BHP, mamba.D.to(y.dtype)[:, None]).flatten(1)
    return mamba.norm(y * F.silu(z)), window[:, 1:], memory
