"""What would run on this machine, how fast, and what is amiss."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from genemamba import _machine, models
from genemamba._version import __version__
from genemamba.network import selftest
from genemamba.network.inference import embed_tokens
from genemamba.network.runtime import Runtime, choose_runtime
from genemamba.tokens import FIRST_GENE, Ranked

if TYPE_CHECKING:
    from genemamba.models._load import ModelLike
    from genemamba.network import GeneMamba
    from genemamba.network.runtime import Backend, Device, Precision

_PACKAGES = ("torch", "numpy", "scipy", "numba", "anndata", "scanpy", "pynndescent")
_OPTIONAL = ("triton", "mamba-ssm", "causal-conv1d", "lightning-fabric")
_CELL = 1_000  # genes of the cells that are timed
_SECONDS = 1.0  # to time at least


@dataclass(frozen=True)
class Diagnosis:
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
        Cells of 1,000 genes embedded in a second.
    memory
        GB this process has held at most.
    advice
        Commands that would mend what is amiss or missing.
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

    def __str__(self) -> str:
        """Lay it out as a table."""
        drift = f"within {self.drift:.0e} of float64"
        rows = [
            ("machine", self.machine),
            ("GPU", self.gpu),
            ("runs on", f"{self.runtime.device}, {self.runtime.precision}"),
            ("with", self.runtime.code),
            *(("", f"({why})") for why in self.runtime.why),
            ("self-test", f"passed: {drift}" if self.passed else f"FAILED: not {drift}"),
            ("speed", f"{self.cells_per_second:,.0f} cells of {_CELL:,} genes a second "
                      f"with {self.model}"),
            ("memory", f"{self.memory:.1f} GB"),
            ("versions", ", ".join(f"{name} {v}" for name, v in self.versions.items())),
            *(("advice", line) for line in self.advice or ("none: all is well",)),
        ]  # fmt: skip
        return "\n".join(f"{name:<11}{text}" for name, text in rows)

    __repr__ = __str__


def doctor(
    model: ModelLike = "genemamba-mini",
    *,
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
) -> Diagnosis:
    """Say what would run on this machine and why, test that it is right, and time it.

    Takes a few seconds; nothing is installed, downloaded or written.

    Parameters
    ----------
    model
        Name of a checkpoint, a checkpoint folder, or a loaded model: the one to time.
    device, precision, backend
        As for :func:`genemamba.tl.embed`.

    Returns
    -------
    :class:`genemamba._doctor.Diagnosis`. Shown or printed it is a table of the machine, what would
    run and why, the self-test (a small problem beside float64), speed, memory, versions and advice.

    Raises
    ------
    InputError
        If what was asked for is not there.
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
    versions |= {name: v for name in (*_PACKAGES, *_OPTIONAL) if (v := _version(name))}
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


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _gpu(runtime: Runtime) -> str:
    if torch.cuda.is_available():
        chosen = runtime.device if runtime.kind == "cuda" else 0
        about = torch.cuda.get_device_properties(chosen)
        return (
            f"{about.name}, {about.total_memory / 1e9:.0f} GB, {torch.cuda.device_count()} in all"
        )
    return "Apple, through MPS" if torch.backends.mps.is_available() else "none that torch can use"


def _speed(model: GeneMamba, runtime: Runtime) -> float:
    """Embed made-up cells, more of them until it takes long enough to time."""
    assert model.vocab is not None
    rng, n = np.random.default_rng(0), 4
    most = min(_CELL, model.vocab.n_genes)
    embed_tokens(model, _cells(rng, 1, most, model.vocab.n_genes), runtime=runtime)
    while True:
        cells = _cells(rng, n, most, model.vocab.n_genes)
        begun = time.perf_counter()
        embed_tokens(model, cells, runtime=runtime)
        seconds = time.perf_counter() - begun
        if seconds > _SECONDS or n >= 2**16:
            return n / seconds * most / _CELL
        n *= 4


def _cells(rng: np.random.Generator, n: int, length: int, n_genes: int) -> Ranked:
    genes = [rng.permutation(n_genes)[:length] for _ in range(n)]
    tokens = (np.concatenate(genes) + FIRST_GENE).astype(np.int32)
    ones = np.ones(n)
    return Ranked(tokens, np.arange(n + 1) * length, ones, ones)


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
