"""Report what would run on this machine, how fast, and what is missing."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from genemamba import _machine, models
from genemamba._shown import Shown
from genemamba._version import __version__
from genemamba.network import selftest
from genemamba.network.inference import embed_tokens
from genemamba.network.runtime import Runtime, choose_runtime
from genemamba.tokens import FIRST_GENE, Ranked

if TYPE_CHECKING:
    from genemamba.models._load import ModelLike
    from genemamba.network import GeneMamba
    from genemamba.network.runtime import Backend, Device, Precision

_PACKAGES = (
    "torch", "numpy", "scipy", "numba", "anndata", "scanpy", "pynndescent",
    "triton", "mamba-ssm", "causal-conv1d", "lightning-fabric",
)  # fmt: skip
_CELL = 1_000  # genes of the cells that are timed
_SECONDS = 1.0  # to time at least


@dataclass(frozen=True, repr=False)
class Diagnosis(Shown):
    """What :func:`genemamba.doctor` found; print it to read it.

    Attributes
    ----------
    runtime
        Device, precision and backend that would run, and why.
    drift
        Largest relative distance of outputs, and of gradients where the backend has them, from
        float64 on a small problem.
    passed
        Whether the drift is as small as the precision allows.
    cells_per_second
        Cells of 1,000 genes embedded per second.
    memory
        Peak memory of this process in GB.
    advice
        Commands that install or repair what is missing.
    """

    machine: str
    gpu: str
    model: str
    versions: dict[str, str]
    runtime: Runtime
    drift: float
    passed: bool
    cells_per_second: float
    memory: float
    advice: tuple[str, ...]

    def lines(self) -> list[tuple[str, str]]:
        """Return the lines of the table."""
        drift = f"within {self.drift:.0e} of float64"
        speed = f"{self.cells_per_second:,.0f} cells of {_CELL:,} genes a second with {self.model}"
        return [
            ("machine", self.machine),
            ("GPU", self.gpu),
            ("runs on", f"{self.runtime.device}, {self.runtime.precision}"),
            ("with", self.runtime.code),
            *(("", f"({why})") for why in self.runtime.why),
            ("self-test", f"passed: {drift}" if self.passed else f"FAILED: not {drift}"),
            ("speed", speed),
            ("memory", f"{self.memory:.1f} GB"),
            ("versions", ", ".join(f"{name} {v}" for name, v in self.versions.items())),
            *(("advice", line) for line in self.advice or ("none: all is well",)),
        ]


def doctor(
    model: ModelLike = "genemamba-mini",
    *,
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
) -> Diagnosis:
    """Report what would run on this machine and why, test it, and time it.

    Takes a few seconds; nothing is installed, downloaded or written.

    Parameters
    ----------
    model
        The model to time: name of a checkpoint, a checkpoint folder, or a loaded model.
    device, precision, backend
        As for :func:`genemamba.tl.embed`.

    Returns
    -------
    :class:`genemamba._doctor.Diagnosis`. Printed, it is a table of the machine, what would run and
    why, the self-test (a small problem compared with float64), speed, memory, versions and advice.

    Raises
    ------
    InputError
        If the device or backend is not available.
    CheckpointError
        If the model is unknown or damaged.

    Examples
    --------
    >>> import genemamba as gm
    >>> gm.doctor().passed
    True
    """
    runtime = choose_runtime(device, precision, backend)
    loaded = models.load(model)
    drift = selftest.self_test(runtime.device, runtime.precision, runtime.backend)
    versions = {"genemamba": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return Diagnosis(
        machine=f"{_machine.processor()}, {_machine.cores()} cores, "
        f"{torch.get_num_threads()} threads, {_machine.memory():.0f} GB",
        gpu=_gpu(runtime),
        model=model if isinstance(model, str) else loaded.provenance.get("name", "your model"),
        versions=versions,
        runtime=runtime,
        drift=drift,
        passed=drift <= selftest.TOLERANCE[runtime.precision],
        cells_per_second=_speed(loaded, runtime),
        memory=_machine.peak_memory(),
        advice=tuple(_advice(versions, runtime)),
    )


def _gpu(runtime: Runtime) -> str:
    if not torch.cuda.is_available():
        return "Apple, through MPS" if torch.backends.mps.is_available() else "none torch can use"
    gpu = torch.cuda.get_device_properties(runtime.device if runtime.kind == "cuda" else 0)
    return f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB, {torch.cuda.device_count()} in all"


def _speed(model: GeneMamba, runtime: Runtime) -> float:
    """Embed random cells, more of them until it takes long enough to time."""
    assert model.vocab is not None
    rng, n, n_genes = np.random.default_rng(0), 1, model.vocab.n_genes
    length = min(_CELL, n_genes)
    while True:
        genes = np.concatenate([rng.permutation(n_genes)[:length] for _ in range(n)])
        ones = np.ones(n)
        cells = Ranked((genes + FIRST_GENE).astype(np.int32), np.arange(n + 1) * length, ones, ones)
        start = time.perf_counter()
        embed_tokens(model, cells, runtime=runtime)
        seconds = time.perf_counter() - start
        if n > 1 and (seconds > _SECONDS or n >= 2**16):  # the first cell compiles
            return n / seconds * length / _CELL
        n *= 4


def _advice(versions: dict[str, str], runtime: Runtime) -> list[str]:
    kernels_missing = not {"mamba-ssm", "causal-conv1d"} <= set(versions)
    checks = [
        (runtime.kind == "cuda" and kernels_missing, f"for CUDA kernels: {selftest.INSTALL}"),
        ("lightning-fabric" not in versions, "for gm.tl.pretrain: pip install 'genemamba[train]'"),
        (
            versions.get("pynndescent") == "0.7.0",
            "sc.pp.neighbors fails beyond 8,192 cells: pip install 'pynndescent!=0.7.0'",
        ),
        (
            torch.version.cuda is not None and not torch.cuda.is_available(),
            "torch was built for CUDA and finds no GPU: look at nvidia-smi",
        ),
    ]
    return [advice for wrong, advice in checks if wrong]
