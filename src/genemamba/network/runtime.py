"""Where a model runs, how precisely, and on whose kernels: by rules that can be read aloud."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import torch

from genemamba.errors import InputError
from genemamba.network import kernels

Device: TypeAlias = Literal["auto", "cpu", "cuda", "mps"] | str
"""Or one of several GPUs: "cuda:1"."""
Precision = Literal["auto", "float32", "bfloat16"]
Backend = Literal["auto", "cuda", "torch", "triton", "numba"]
BatchSize = int | Literal["auto"]


@dataclass(frozen=True)
class Runtime:
    """Where and how precisely a model runs, and why so."""

    device: str
    precision: Literal["float32", "bfloat16"]
    backend: kernels.Backend = "torch"
    batch_size: BatchSize = "auto"
    why: tuple[str, ...] = field(default=(), compare=False)

    @property
    def kind(self) -> str:
        """Kind of device: "cuda" of "cuda:1"."""
        return self.device.partition(":")[0]

    @property
    def code(self) -> str:
        """Whose code mixes tokens."""
        return kernels.NAMES[self.backend]


def choose_runtime(
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    batch_size: BatchSize = "auto",
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
    _require_known("precision", precision, Precision)
    _require_known("backend", backend, Backend)
    whole = isinstance(batch_size, int) and not isinstance(batch_size, bool)
    if batch_size != "auto" and not (whole and batch_size > 0):
        raise InputError(f"batch_size={batch_size!r}", "give a number of cells, or 'auto'")
    device, why_device = _device(device)
    precision, why_precision = _precision(precision, device)
    backend, why_backend = _backend(backend, device, precision)
    why = tuple(filter(None, (why_device, why_precision, why_backend)))
    return Runtime(device, precision, backend, batch_size, why)  # type: ignore[arg-type]


def _require_known(name: str, value: Any, kind: Any) -> None:
    known = get_args(kind)
    if value not in known:
        *others, last = map(repr, known)
        raise InputError(f"{name}={value!r} is unknown", f"use {', '.join(others)} or {last}")


def _device(wished: str) -> tuple[str, str]:
    if wished == "auto":
        found = torch.cuda.is_available()
        return ("cuda", "torch finds a CUDA device") if found else ("cpu", "no CUDA device")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", str(wished)):
        raise InputError(
            f"device={wished!r} is unknown",
            "use 'auto', 'cpu', 'mps' or 'cuda' ('cuda:1' of several GPUs)",
        )
    kind, _, number = wished.partition(":")
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }[kind]
    if not present:
        raise InputError(f"device={wished!r}: torch finds none here", "use device='cpu'")
    if number and int(number) >= present:
        last = f"cuda:{present - 1}"
        raise InputError(
            f"device={wished!r}: torch finds {present} here, numbered from 0",
            "use device='cuda:0'" + (f" to {last!r}" if present > 1 else ""),
        )
    return wished, f"device={wished!r} was asked for"


def _precision(wished: str, device: str) -> tuple[Any, str]:
    if wished != "auto":
        return wished, f"precision={wished!r} was asked for"
    unit = bfloat16_unit(device)
    if unit:
        return "bfloat16", f"{unit} computes in bfloat16"
    return "float32", "nothing here computes in bfloat16"


def bfloat16_unit(device: str) -> str:
    """Name what multiplies bfloat16 numbers on a device, if anything does."""
    if device.startswith("cuda"):
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
    on_gpu = device.startswith("cuda")
    own = "cuda" if on_gpu else {"cpu": "numba"}.get(device, "torch")
    if on_gpu and wished in ("auto", "cuda", "triton"):
        kind: Literal["cuda", "triton"] = "triton" if wished == "triton" else "cuda"
        why = kernels.refusal(precision, kind, device)
        if why and wished != "auto":
            raise InputError(f"backend={wished!r}: {why}", kernels.INSTALL)
        return ("torch", why) if why else (kind, "the kernels agree with the package's own code")
    if wished not in ("auto", own):
        needs = "a CPU" if wished == "numba" else "a CUDA device"
        raise InputError(
            f"backend={wished!r}: it needs {needs}, not {device!r}", "leave out backend"
        )
    return own, ""
