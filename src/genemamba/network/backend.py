"""What every backend gets: the weights of a mixer and tensors of tokens, never the layer itself.

A backend is a module with one of these functions; :mod:`~genemamba.network.mamba2` calls them, and
does what a backend leaves out.

- ``mix(weights, xbc_RLK, dt_RLH, segment_RL)``: convolve and scan forwards; R × L × E.
- ``read(weights, projected_BLT, segment_BL, ...)``: also gate and normalise, one way or both.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

from genemamba.network.config import GeneMambaConfig

Backend = Literal["cuda", "torch", "numba"]
NAMES: dict[Backend, str] = {
    "cuda": "the kernels of mamba-ssm and causal-conv1d",
    "torch": "the package's own torch code",
    "numba": "the package's own code, compiled for the processor",
}


class MixerWeights(NamedTuple):
    """Sizes and weights of one mixer (H heads, E inner width, K channels, W taps)."""

    config: GeneMambaConfig
    conv_KW: Tensor
    conv_bias_K: Tensor
    dt_bias_H: Tensor
    A_log_H: Tensor
    D_H: Tensor
    norm_E: Tensor
