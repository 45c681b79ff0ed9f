"""Whether the CUDA kernels can be used here: their packages, and a test against float64.

Some releases of CUDA kernels gave plausible, wrong numbers on some GPUs, so they have to agree with
the plain code on a small problem before they read a cell.
"""

from __future__ import annotations

import importlib.util
import warnings
from functools import lru_cache

import torch
from torch import Tensor

from genemamba.errors import GeneMambaWarning
from genemamba.network.backend import NAMES, Backend
from genemamba.network.config import GeneMambaConfig
from genemamba.network.mamba2 import Mamba2

PACKAGES = ("causal_conv1d", "mamba_ssm")
INSTALL = "pip install 'genemamba[cuda]' (needs Linux, nvcc and the torch that is installed)"
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}  # what rounding explains
_LENGTH = 587  # tokens of a row: no multiple of any backend's chunk


def installed(name: str) -> bool:
    """Whether a package is installed; it is not imported."""
    return importlib.util.find_spec(name) is not None


@lru_cache
def refusal(precision: str, device: str = "cuda") -> str:
    """Say why the kernels cannot be used here, or return ""; a drift is also warned of."""
    missing = [name for name in PACKAGES if not installed(name)]
    if missing:
        return f"{' and '.join(missing)} not installed"
    try:
        drift = self_test(device, precision, "cuda")
    except Exception as error:  # they are compiled elsewhere, and can fail in any way
        return f"the kernels do not run here ({type(error).__name__}: {error})"
    if drift <= TOLERANCE[precision]:
        return ""
    why = f"{NAMES['cuda']} differ by {drift:.2g} of the result on this GPU in {precision}"
    warnings.warn(f"{why}: they are not used", GeneMambaWarning, stacklevel=2)
    return why


def self_test(device: str, precision: str, backend: Backend) -> float:
    """Return how far a backend is from the plain code in float64, on packed rows.

    This is the largest relative distance: of the outputs and, where the backend has them, of the
    gradients of input and weights.
    """
    config = GeneMambaConfig(vocab_size=2, d_model=64, d_state=64, headdim=64, chunk_size=32)
    width, dtype = config.d_inner + config.d_xbc + config.n_heads, getattr(torch, precision)
    projected = torch.randn(2, _LENGTH, width, generator=torch.Generator().manual_seed(0)).to(dtype)
    segment = (torch.arange(_LENGTH) // 97).expand(2, -1).clone()
    segment[1] = -segment[1]  # from many to few
    true = _outputs_and_gradients(config, projected.double(), segment, "torch")
    on_device = (projected.to(device), segment.to(device))
    ours = _outputs_and_gradients(config, *on_device, backend, true[1])
    pairs = zip(true, ours, strict=False)
    return max(float((one - other).norm() / one.norm()) for one, other in pairs)


def _outputs_and_gradients(
    config: GeneMambaConfig,
    projected: Tensor,
    segment: Tensor,
    backend: Backend,
    grad_output: Tensor | None = None,
) -> list[Tensor]:
    """Return what a mixer gives, and the gradients of half the square of the true output.

    Sums in these do not cancel out; against random vectors rounding would be 5 % of the biases'.
    """
    mixer = Mamba2(config)
    mixer.reset_parameters(torch.Generator().manual_seed(1), 1)
    mixer = mixer.to(projected.device, torch.promote_types(projected.dtype, torch.float32))
    mixer.backend = backend
    with torch.inference_mode(False), torch.no_grad():
        read = torch.stack(mixer.read(projected, segment, directions=2))
    found = [read.double().cpu()]
    if backend in ("torch", "cuda"):
        weights = [mixer.conv1d.weight, mixer.A_log, mixer.D, mixer.dt_bias]
        with torch.inference_mode(False), torch.enable_grad():
            given = projected.clone().requires_grad_()
            mixed = torch.stack(mixer.mix_both(given, segment))  # a norm's gradients cancel out
        grad_output = mixed.detach() if grad_output is None else grad_output
        back = torch.autograd.grad(mixed, [given, *weights], grad_output.to(mixed))
        found += [t.double().cpu() for t in (mixed.detach(), *back)]
    return found
