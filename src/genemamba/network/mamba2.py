"""One Mamba-2 mixer, and the Bi-Mamba layer that reads it in both directions.

Shapes: B cells, R rows (B, or 2 B with both directions), L tokens, D model width, E inner width,
H heads, P head channels, N states, K = E + 2 N channels of the convolution,
T = E + K + H what the input projection gives.

Parameter names are those of the published checkpoint (and of mamba-ssm), so weights move freely.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genemamba.network import compiled, kernels
from genemamba.network.backend import Backend, MixerWeights
from genemamba.network.config import GeneMambaConfig
from genemamba.network.convolution import convolve
from genemamba.network.ssd import scan


class RMSNorm(nn.Module):
    """Root-mean-square norm with a learned scale."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.backend: Backend = "torch"

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        if self.backend == "numba" and compiled.suits(x):
            return compiled.normalise(x, self.weight, self.eps)
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class Mamba2(nn.Module):
    """Mamba-2 mixer: project, convolve, scan, gate, project back.

    ``forward`` reads forwards. The Bi-Mamba layer calls the parts, to share the projections.
    """

    def __init__(self, config: GeneMambaConfig) -> None:
        super().__init__()
        c = self.config = config
        self.in_proj = nn.Linear(c.d_model, c.d_inner + c.d_xbc + c.n_heads, bias=False)
        self.conv1d = nn.Conv1d(c.d_xbc, c.d_xbc, c.d_conv, groups=c.d_xbc, padding=c.d_conv - 1)
        self.dt_bias = nn.Parameter(torch.empty(c.n_heads))
        self.A_log = nn.Parameter(torch.empty(c.n_heads))
        self.D = nn.Parameter(torch.ones(c.n_heads))
        self.norm = RMSNorm(c.d_inner, c.norm_eps)
        self.out_proj = nn.Linear(c.d_inner, c.d_model, bias=False)
        self._kept = compiled.Remembered()
        self.backend: Backend = "torch"

    def reset_parameters(self, generator: torch.Generator, n_layers: int) -> None:
        """Draw the initial weights as Mamba-2 does: A in 1…16, dt in 0.001…0.1, log-uniform."""
        c = self.config
        with torch.no_grad():
            _uniform(self.in_proj.weight, c.d_model, generator)
            _uniform(self.out_proj.weight, c.d_inner * n_layers, generator)
            _uniform(self.conv1d.weight, c.d_conv, generator)
            self.conv1d.bias.zero_()  # type: ignore[union-attr]
            self.A_log.uniform_(1, 16, generator=generator).log_()
            dt = torch.empty_like(self.dt_bias)
            dt.uniform_(math.log(1e-3), math.log(1e-1), generator=generator).exp_()
            self.dt_bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # inverse softplus
            self.D.fill_(1.0)
            self.norm.weight.fill_(1.0)

    @property
    def weights(self) -> MixerWeights:
        """The weights as a backend takes them."""
        conv = self.conv1d
        assert conv.bias is not None
        return MixerWeights(
            self.config, conv.weight.squeeze(1), conv.bias, self.dt_bias, self.A_log, self.D,
            self.norm.weight,
        )  # fmt: skip

    def _prepared(self) -> compiled.Prepared:
        conv, used = self.conv1d, (self.dt_bias, self.A_log, self.D, self.norm.weight)
        assert conv.bias is not None
        return self._kept.of(
            (conv.weight, conv.bias, *used), lambda: compiled.Prepared.of(self.weights)
        )

    def split(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split the input projection into gate z (E), xBC (K) and dt (H)."""
        c = self.config
        z, xbc, dt = projected.split([c.d_inner, c.d_xbc, c.n_heads], dim=-1)
        return z, xbc, dt

    def project(self, u_BLD: Tensor) -> Tensor:
        """Return what `read` takes, B × L × T; the next call may overwrite it."""
        if self.backend == "numba" and compiled.suits(u_BLD, self.config):
            return compiled.project(u_BLD, self.in_proj.weight)
        return self.in_proj(u_BLD)

    def read(
        self,
        projected_BLT: Tensor,
        segment_BL: Tensor | None,
        *,
        directions: int = 1,
        summed: bool = False,
    ) -> tuple[Tensor, ...]:
        """Mix, gate and normalise, forwards or (2) in both directions; each B × L × E.

        Their sum is returned if `summed`, and the next call may overwrite it.
        """
        if self.backend == "numba" and compiled.suits(projected_BLT, self.config):
            given = (projected_BLT, segment_BL, directions, summed)
            return compiled.read(self.config, self._prepared(), *given).unbind()
        z, xbc, dt = self.split(projected_BLT)
        gate = F.silu(z)
        if directions == 1:
            return (self.norm(self.mix(xbc, dt, segment_BL) * gate),)
        forwards, backwards = self.mix_both(projected_BLT, segment_BL)
        forwards, backwards = self.norm(forwards * gate), self.norm(backwards * gate)
        return (forwards + backwards,) if summed else (forwards, backwards)

    def mix_both(self, projected_BLT: Tensor, segment_BL: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mix forwards and backwards, each B × L × E in the order of the cell."""
        _, xbc, dt = self.split(projected_BLT)
        segment_RL = None if segment_BL is None else _both_ways(segment_BL)
        forwards, backwards = self.mix(_both_ways(xbc), _both_ways(dt), segment_RL).chunk(2)
        return forwards, backwards.flip(1)

    def mix(self, xbc_RLK: Tensor, dt_RLH: Tensor, segment_RL: Tensor | None) -> Tensor:
        """Convolve and scan along the tokens, left to right; R × L × E."""
        if self.backend == "cuda":
            return kernels.mix(self.weights, xbc_RLK, dt_RLH, segment_RL)
        return mix_plainly(self.weights, xbc_RLK, dt_RLH, segment_RL)

    def forward(self, u_BLD: Tensor, segment_BL: Tensor | None = None) -> Tensor:
        """Read forwards only; B × L × D."""
        (y,) = self.read(self.in_proj(u_BLD), segment_BL)
        return self.out_proj(y)


class BiMambaLayer(nn.Module):
    """One Mamba-2 that reads forwards and backwards with the same weights, and a merge.

    With X the input and M the mixer, the directions are ``X_f = M(X) + X`` and
    ``X_b = flip(M(flip X) + flip X)``. Where a model reads forwards only, ``X_b = X_f``.
    """

    def __init__(self, config: GeneMambaConfig) -> None:
        super().__init__()
        self.how = config.merge
        self.bidirectional = config.bidirectional
        self.mamba = Mamba2(config)
        self.norm = RMSNorm(config.d_model, config.norm_eps) if config.pre_norm else None
        two_to_one = config.merge in ("gate", "concat")
        self.merge = nn.Linear(2 * config.d_model, config.d_model) if two_to_one else None

    def reset_parameters(self, generator: torch.Generator, n_layers: int) -> None:
        """Draw the initial weights of the mixer and of the merge."""
        self.mamba.reset_parameters(generator, n_layers)
        if self.norm is not None:
            nn.init.ones_(self.norm.weight)
        if self.merge is not None:
            with torch.no_grad():
                _uniform(self.merge.weight, self.merge.in_features, generator)
                self.merge.bias.zero_()

    def normed(self, x_BLD: Tensor) -> Tensor:
        """Return what the input projection gets."""
        return x_BLD if self.norm is None else self.norm(x_BLD)

    def forward(
        self, x_BLD: Tensor, segment_BL: Tensor | None = None, projected: Tensor | None = None
    ) -> Tensor:
        """Read and merge both directions, or merge the one; B × L × D.

        `projected` is what `project` would return, if it is known.
        """
        if projected is None:
            projected = self.mamba.project(self.normed(x_BLD))  # once, for both directions
        if not self.bidirectional:
            (y,) = self.mamba.read(projected, segment_BL)
            return self.merge_forward(x_BLD, y)
        if self.how in ("mean", "sum"):  # linear, so add before projecting: one product, not two
            (both,) = self.mamba.read(projected, segment_BL, directions=2, summed=True)
            both = self.mamba.out_proj(both)
            return torch.add(x_BLD, both, alpha=0.5) if self.how == "mean" else 2 * x_BLD + both
        forwards, backwards = self.mamba.read(projected, segment_BL, directions=2)
        return self._learned_merge(
            self.mamba.out_proj(forwards) + x_BLD, self.mamba.out_proj(backwards) + x_BLD
        )

    def merge_forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Merge the forward reading with itself: x is the layer's input, y what it has read."""
        forwards = self.mamba.out_proj(y) + x
        if self.how == "concat":
            return self._learned_merge(forwards, forwards)
        return 2 * forwards if self.how == "sum" else forwards

    def _learned_merge(self, forwards: Tensor, backwards: Tensor) -> Tensor:
        assert self.merge is not None
        joined = self.merge(torch.cat([forwards, backwards], dim=-1))
        if self.how == "concat":
            return joined
        gate = torch.sigmoid(joined).to(forwards.dtype)  # autocast makes it another
        return torch.lerp(backwards, forwards, gate)


def mix_plainly(
    weights: MixerWeights, xbc_RLK: Tensor, dt_RLH: Tensor, segment_RL: Tensor | None
) -> Tensor:
    """Convolve and scan in plain torch, with gradients: the reference of every backend."""
    c, dtype = weights.config, xbc_RLK.dtype
    taps_KW, bias_K = weights.conv_KW.to(dtype), weights.conv_bias_K.to(dtype)
    xbc = F.silu(convolve(xbc_RLK, taps_KW, bias_K, segment_RL))
    x, b_RLN, c_RLN = xbc.split([c.d_inner, c.d_state, c.d_state], dim=-1)
    x_RLHP = x.unflatten(-1, (c.n_heads, c.headdim))
    # decays are summed along the cell, so they stay in float32 at least
    wide = torch.promote_types(weights.A_log_H.dtype, torch.float32)
    dt = F.softplus(dt_RLH.to(wide) + weights.dt_bias_H.to(wide))
    A = -torch.exp(weights.A_log_H.to(wide))
    y = scan(x_RLHP, dt, A, b_RLN, c_RLN, segment_RL, chunk_size=c.chunk_size)
    return torch.addcmul(y, x_RLHP, weights.D_H.to(y.dtype)[:, None]).flatten(2)


def _both_ways(t: Tensor) -> Tensor:
    return torch.cat([t, t.flip(1)])


def _uniform(weight: Tensor, fan_in: int, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(fan_in)
    weight.uniform_(-bound, bound, generator=generator)
