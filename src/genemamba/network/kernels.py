"""The CUDA kernels of mamba-ssm and causal-conv1d, in the place of the plain convolution and scan.

They are optional and imported when first used. Some releases gave plausible, wrong numbers on some
GPUs, so they have to agree with the plain code on a small problem before they touch a cell.

Shapes: R rows (cells × directions), L tokens, K channels of the convolution, H heads, E inner
width.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from genemamba.errors import GeneMambaWarning, InputError
from genemamba.network.config import GeneMambaConfig

if TYPE_CHECKING:
    from genemamba.network.mamba2 import Mamba2

Backend = Literal["cuda", "torch", "triton", "numba"]
NAMES: dict[Backend, str] = {
    "cuda": "the kernels of mamba-ssm and causal-conv1d",
    "torch": "the package's own torch code",
    "triton": "the package's own Triton kernel",
    "numba": "the package's own code, compiled for the processor",
}
INSTALL = "pip install 'genemamba[cuda]' (needs Linux, nvcc and the torch that is installed)"
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}  # what rounding explains
_CHUNK = 256  # tokens a program of the scan takes; the result does not depend on it
MODULES = {"cuda": ("causal_conv1d", "mamba_ssm"), "triton": ("triton",)}


def mix(mixer: Mamba2, xbc_RLK: Tensor, dt_RLH: Tensor, segment_RL: Tensor | None) -> Tensor:
    """Convolve and scan along the tokens, left to right; R × L × E, as the plain code does."""
    most = most_rows(mixer.config, xbc_RLK.shape[1])
    if len(xbc_RLK) <= most:
        return _mix(mixer, xbc_RLK, dt_RLH, segment_RL)
    segments = [None] * len(xbc_RLK) if segment_RL is None else segment_RL.split(most)
    pieces = zip(xbc_RLK.split(most), dt_RLH.split(most), segments, strict=False)
    return torch.cat([_mix(mixer, *piece) for piece in pieces])


def mix_both(
    mixer: Mamba2, projected_BLT: Tensor, segment_BL: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Do it in both directions with this package's Triton kernel, which has no gradients."""
    from genemamba.network import triton_read

    forwards, backwards = triton_read.mix_both(mixer, projected_BLT, segment_BL)
    return forwards, backwards


def require_powers_of_two(config: GeneMambaConfig) -> None:
    """Refuse sizes that the Triton kernel cannot be compiled for.

    Raises
    ------
    InputError
        If head or state is no power of two from 16.
    """
    for name, n in (("headdim", config.headdim), ("d_state", config.d_state)):
        if n < 16 or n & (n - 1):
            raise InputError(
                f"backend='triton' needs powers of two from 16, and {name} is {n}",
                "leave out backend",
            )


def most_rows(config: GeneMambaConfig, length: int) -> int:
    """How many rows to give the kernels at once: they count in 32 bits, and wrap around silently.

    Raises
    ------
    InputError
        If not even one row can be counted.
    """
    widest = config.d_inner + config.d_xbc + config.n_heads  # of what is read with one stride
    most = (2**31 - 1) // (length * max(widest, _CHUNK))
    if not most:
        raise InputError(
            f"a row of {length:,} tokens is too long for the kernels", "use backend='torch'"
        )
    return most


def _mix(mixer: Mamba2, xbc_RLK: Tensor, dt_RLH: Tensor, segment_RL: Tensor | None) -> Tensor:
    convolve, scan = _kernels()
    c, dtype = mixer.config, xbc_RLK.dtype
    segment = None if segment_RL is None else numbered(segment_RL)
    assert mixer.conv1d.bias is not None
    xbc = convolve(
        xbc_RLK.contiguous().transpose(1, 2),  # seen as R × K × L, channels last
        mixer.conv1d.weight.squeeze(1).to(dtype),
        mixer.conv1d.bias.to(dtype),
        seq_idx=segment,
        activation="silu",
    ).transpose(1, 2)
    x, b_RLN, c_RLN = xbc.split([c.d_inner, c.d_state, c.d_state], dim=-1)
    y = scan(
        x.unflatten(-1, (c.n_heads, c.headdim)),
        dt_RLH,
        -torch.exp(mixer.A_log.float()),
        b_RLN.unsqueeze(2),
        c_RLN.unsqueeze(2),
        chunk_size=_CHUNK,
        D=mixer.D.float(),
        dt_bias=mixer.dt_bias.float(),
        dt_softplus=True,
        seq_idx=segment,
    )
    return y.flatten(2)


def numbered(segment_RL: Tensor) -> Tensor:
    """Count the cells of a row from 0, in int32: the scan's state begins in number 0."""
    change = segment_RL[:, 1:] != segment_RL[:, :-1]
    return F.pad(change.cumsum(1), (1, 0)).to(torch.int32).contiguous()


def installed(name: str) -> bool:
    """Whether a package is there; it is not imported."""
    return importlib.util.find_spec(name) is not None


@lru_cache
def refusal(
    precision: str, backend: Literal["cuda", "triton"] = "cuda", device: str = "cuda"
) -> str:
    """Why kernels cannot be used here, or nothing. A drift is warned of, too."""
    missing = [name for name in MODULES[backend] if not installed(name)]
    if missing:
        return f"{' and '.join(missing)} not installed"
    try:
        drift = self_test(device, precision, backend)
    except Exception as error:  # they are compiled elsewhere, and can fail in any way
        return f"the kernels do not run here ({type(error).__name__}: {error})"
    if drift <= TOLERANCE[precision]:
        return ""
    why = f"{NAMES[backend]} is off by {drift:.2g} of the result on this GPU in {precision}"
    warnings.warn(f"{why}: they are not used", GeneMambaWarning, stacklevel=2)
    return why


def self_test(device: str, precision: str, backend: Backend) -> float:
    """Run packed rows, read in both directions, through a backend and plain float64 code.

    Returns
    -------
    The largest relative distance: of the outputs and, where the backend has them, of the gradients
    of input and weights.
    """
    config = GeneMambaConfig(vocab_size=2, d_model=64, d_state=64, headdim=64, chunk_size=32)
    length, dtype = 2 * _CHUNK + 75, getattr(torch, precision)
    width = config.d_inner + config.d_xbc + config.n_heads
    projected = torch.randn(2, length, width, generator=torch.Generator().manual_seed(0)).to(dtype)
    segment = (torch.arange(length) // 97).expand(2, -1).clone()
    segment[1] = -segment[1]  # from many to few
    true = _outputs_and_gradients(config, projected.double(), segment, "torch")
    ours = _outputs_and_gradients(
        config, projected.to(device), segment.to(device), backend, true[1]
    )
    return max(
        float((one - other).norm() / one.norm()) for one, other in zip(true, ours, strict=False)
    )


def _outputs_and_gradients(
    config: GeneMambaConfig,
    projected: Tensor,
    segment: Tensor,
    backend: Backend,
    wish: Tensor | None = None,
) -> list[Tensor]:
    """Return what a mixer gives, and the gradients of half the square of what is right.

    Sums in these do not cancel out; against random vectors rounding would be 5 % of the biases'.
    """
    from genemamba.network.mamba2 import Mamba2

    mixer = Mamba2(config)
    mixer.reset_parameters(torch.Generator().manual_seed(1), 1)
    mixer = mixer.to(projected.device, torch.promote_types(projected.dtype, torch.float32))
    mixer.backend = backend
    with torch.inference_mode(False), torch.no_grad():
        read = torch.stack(mixer.read(projected, segment, ways=2))
    found = [read.double().cpu()]
    if backend in ("torch", "cuda"):
        weights = [mixer.conv1d.weight, mixer.A_log, mixer.D, mixer.dt_bias]
        with torch.inference_mode(False), torch.enable_grad():
            given = projected.clone().requires_grad_()
            mixed = torch.stack(mixer.mix_both(given, segment))  # a norm's gradients cancel out
        wish = (mixed.detach() if wish is None else wish).to(mixed.device, mixed.dtype)
        back = torch.autograd.grad(mixed, [given, *weights], wish)
        found += [t.double().cpu() for t in (mixed.detach(), *back)]
    return found


@lru_cache
def _kernels() -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    # Triton's products of float32 round to TF32 unless told otherwise before it is imported
    os.environ.setdefault("TRITON_F32_DEFAULT", "ieee")
    from causal_conv1d import causal_conv1d_fn
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined

    return causal_conv1d_fn, mamba_chunk_scan_combined
