"""Where a model runs, how precisely, and on whose kernels: by rules that can be read aloud."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch

from genemamba.errors import InputError
from genemamba.model import kernels

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]
Backend = Literal["auto", "cuda", "torch", "triton", "numba"]


@dataclass(frozen=True)
class Runtime:
    """Where and how precisely a model runs, and why so."""

    device: str
    precision: Literal["float32", "bfloat16"]
    backend: kernels.Backend = "torch"
    why: tuple[str, ...] = field(default=(), compare=False)

    @property
    def code(self) -> str:
        """Whose code mixes tokens."""
        return kernels.NAMES[self.backend]


def choose_runtime(
    device: Device = "auto", precision: Precision = "auto", backend: Backend = "auto"
) -> Runtime:
    """Decide where to run: CUDA if there is one, else the CPU; bfloat16 where it is fast.

    bfloat16 is chosen on GPUs and CPUs that compute in it (CPUs with AMX or AVX512-BF16); elsewhere
    its conversions cost what its products save. The kernels of mamba-ssm are chosen on a CUDA
    device where they are installed and pass their self-test.

    Raises
    ------
    InputError
        If a value is unknown, the device is not there, or `backend` cannot run.
    """
    _require_known("device", device, Device)
    _require_known("precision", precision, Precision)
    _require_known("backend", backend, Backend)
    device, why_device = _device(device)
    precision, why_precision = _precision(precision, device)
    backend, why_backend = _backend(backend, device, precision)
    why = tuple(filter(None, (why_device, why_precision, why_backend)))
    return Runtime(device, precision, backend, why)  # type: ignore[arg-type]


def _require_known(name: str, value: Any, kind: Any) -> None:
    known = get_args(kind)
    if value not in known:
        *others, last = map(repr, known)
        raise InputError(f"{name}={value!r} is unknown", f"use {', '.join(others)} or {last}")


def _device(wished: str) -> tuple[Any, str]:
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if wished != "auto":
        if not present[wished]:
            raise InputError(f"device={wished!r}: torch finds none here", "use device='cpu'")
        return wished, f"device={wished!r} was asked for"
    return ("cuda", "torch finds a CUDA device") if present["cuda"] else ("cpu", "no CUDA device")


def _precision(wished: str, device: str) -> tuple[Any, str]:
    if wished != "auto":
        return wished, f"precision={wished!r} was asked for"
    unit = bfloat16_unit(device)
    if unit:
        return "bfloat16", f"{unit} computes in bfloat16"
    return "float32", "nothing here computes in bfloat16"


def bfloat16_unit(device: str) -> str:
    """Name what multiplies bfloat16 numbers on a device, if anything does."""
    if device == "cuda":
        return "the GPU" if torch.cuda.is_bf16_supported(including_emulation=False) else ""
    if device != "cpu":
        return ""
    for unit, name in (("AMX", "_is_amx_tile_supported"), ("AVX512", "_is_avx512_bf16_supported")):
        if getattr(torch.cpu, name, bool)():  # older torch does not ask; bool() is False
            return f"the processor's {unit}"
    return ""


def _backend(wished: str, device: str, precision: str) -> tuple[Any, str]:
    if wished == "torch":
        return "torch", "backend='torch' was asked for"
    own = {"cpu": "numba", "cuda": "cuda"}.get(device, "torch")
    if device == "cuda" and wished in ("auto", "cuda", "triton"):
        kind: Literal["cuda", "triton"] = "triton" if wished == "triton" else "cuda"
        why = kernels.refusal(precision, kind)
        if why and wished != "auto":
            raise InputError(f"backend={wished!r}: {why}", kernels.INSTALL)
        return ("torch", why) if why else (kind, "the kernels agree with the package's own code")
    if wished not in ("auto", own):
        needs = "a CPU" if wished == "numba" else "a CUDA device"
        raise InputError(
            f"backend={wished!r}: it needs {needs}, not {device!r}", "leave out backend"
        )
    return own, ""
