"""The scan of Mamba-2 as it is defined, for the tests to compare with."""

from __future__ import annotations

import torch
from torch import Tensor

from genemamba.network.ssd import decays


def scan_reference(
    x_RLHP: Tensor,
    dt_RLH: Tensor,
    A_H: Tensor,
    B_RLN: Tensor,
    C_RLN: Tensor,
    segment_RL: Tensor | None = None,
) -> Tensor:
    """Run the recurrence of Mamba-2 one token at a time: what the fast scans are compared with.

    Returns
    -------
    Tensor, R × L × H × P, in the dtype of the input.
    """
    rows, length, heads, width = x_RLHP.shape
    h_RHNP = x_RLHP.new_zeros(rows, heads, B_RLN.shape[-1], width)
    out = []
    for t in range(length):
        if segment_RL is not None and t > 0:
            same_R = segment_RL[:, t] == segment_RL[:, t - 1]
            h_RHNP = h_RHNP * same_R[:, None, None, None]
        decay_RH = torch.exp(decays(dt_RLH[:, t], A_H))
        write_RHP = dt_RLH[:, t, :, None] * x_RLHP[:, t]
        h_RHNP = (
            decay_RH[..., None, None] * h_RHNP
            + B_RLN[:, t, None, :, None] * (write_RHP[:, :, None])
        )
        out.append(torch.einsum("rn,rhnp->rhp", C_RLN[:, t], h_RHNP))
    return torch.stack(out, dim=1)
