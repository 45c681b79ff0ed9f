"""Where a model runs, how precisely, on whose kernels and in batches of what size."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import torch

from genemamba._settings import check_whole
from genemamba.errors import InputError
from genemamba.network import backend as backends
from genemamba.network import selftest

Device: TypeAlias = Literal["auto", "cpu", "cuda", "mps"] | str
"""Or one of several GPUs: "cuda:1"."""
Precision = Literal["auto", "float32", "bfloat16"]
Backend = Literal["auto", "cuda", "torch", "numba"]
BatchSize: TypeAlias = int | Literal["auto"]


@dataclass(frozen=True)
class Runtime:
    """Where and how a model runs, and why."""

    device: str
    precision: Literal["float32", "bfloat16"]
    backend: backends.Backend = "torch"
    batch_size: BatchSize = "auto"
    why: tuple[str, ...] = field(default=(), compare=False)

    @property
    def kind(self) -> str:
        """Kind of device: "cuda" of "cuda:1"."""
        return self.device.partition(":")[0]

    @property
    def code(self) -> str:
        """Whose code mixes tokens."""
        return backends.NAMES[self.backend]


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
        If a value is unknown, the device does not exist, or `backend` cannot run.
    """
    for name, value, kind in (("precision", precision, Precision), ("backend", backend, Backend)):
        if value not in get_args(kind):
            *others, last = map(repr, get_args(kind))
            raise InputError(f"{name}={value!r} is unknown", f"use {', '.join(others)} or {last}")
    if not (isinstance(batch_size, str) and batch_size == "auto"):
        check_whole("batch_size", batch_size, also=", or 'auto'")
        batch_size = int(batch_size)
    device, why_device = _device(device)
    why_precision = f"precision={precision!r} was given"
    if precision == "auto":
        unit = bfloat16_unit(device)
        precision = "bfloat16" if unit else "float32"
        why_precision = f"{unit or 'nothing here'} computes in bfloat16"
    backend, why_backend = _backend(backend, device, precision)
    why = tuple(filter(None, (why_device, why_precision, why_backend)))
    return Runtime(device, precision, backend, batch_size, why)  # type: ignore[arg-type]


def _device(wanted: str) -> tuple[str, str]:
    wanted = {"cpu:0": "cpu"}.get(str(wanted), str(wanted))  # also a torch.device
    if wanted == "auto":
        found = torch.cuda.is_available()
        return ("cuda", "torch finds a CUDA device") if found else ("cpu", "no CUDA device")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", str(wanted)):
        raise InputError(
            f"device={wanted!r} is unknown",
            "use 'auto', 'cpu', 'mps' or 'cuda' ('cuda:1' of several GPUs)",
        )
    kind, _, number = wanted.partition(":")
    if kind == "cuda":
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    else:
        present = 1 if kind == "cpu" else int(torch.backends.mps.is_available())
    if not present:
        raise InputError(f"device={wanted!r}: torch finds none here", "use device='cpu'")
    if number and int(number) >= present:
        last = f"cuda:{present - 1}"
        raise InputError(
            f"device={wanted!r}: torch finds {present} here, numbered from 0",
            "use device='cuda:0'" + (f" to {last!r}" if present > 1 else ""),
        )
    return wanted, f"device={wanted!r} was given"


def bfloat16_unit(device: str) -> str:
    """Name what multiplies bfloat16 numbers on a device; "" if nothing does."""
    if device.startswith("cuda"):
        return "the GPU" if torch.cuda.is_bf16_supported(including_emulation=False) else ""
    if device != "cpu":
        return ""
    for unit, name in (("AMX", "_is_amx_tile_supported"), ("AVX512", "_is_avx512_bf16_supported")):
        if getattr(torch.cpu, name, bool)():  # missing from older torch; bool() is False
            return f"the processor's {unit}"
    return ""


def _backend(wanted: str, device: str, precision: str) -> tuple[Any, str]:
    if wanted == "torch":
        return "torch", "backend='torch' was given"
    on_gpu = device.startswith("cuda")
    own = "cuda" if on_gpu else {"cpu": "numba"}.get(device, "torch")
    if on_gpu and wanted in ("auto", "cuda"):
        why = selftest.refusal(precision, device)
        if why and wanted == "cuda":
            raise InputError(f"backend='cuda': {why}", selftest.INSTALL)
        return ("torch", why) if why else ("cuda", "the kernels agree with the package's own code")
    if wanted not in ("auto", own):
        needs = "a CPU" if wanted == "numba" else "a CUDA device"
        raise InputError(
            f"backend={wanted!r}: it needs {needs}, not {device!r}", "leave out backend"
        )
    return own, ""
