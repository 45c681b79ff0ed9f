"""A classifier as two files: arrays in safetensors, the rest in JSON; no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from genemamba._files import sha256

FORMAT = 1
DAMAGED = (
    OSError, SafetensorError, KeyError, TypeError, ValueError, OverflowError, RecursionError,
)  # fmt: skip
"""What reading a missing, damaged or foreign file can raise."""


def write_files(
    folder: Path, name: str, arrays: Mapping[str, np.ndarray], described: Mapping[str, Any]
) -> None:
    """Write ``name.safetensors`` and ``name.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    data = save({key: np.ascontiguousarray(value) for key, value in arrays.items()})
    (folder / f"{name}.safetensors").write_bytes(data)
    text = json.dumps(
        {"format": FORMAT, "arrays_sha256": sha256(data), **described}, indent=2, ensure_ascii=False
    )
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def read_files(folder: Path, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read arrays and description; one of `DAMAGED` is raised if they are not what was written."""
    described = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    data = (folder / f"{name}.safetensors").read_bytes()
    if described["arrays_sha256"] != sha256(data):
        raise ValueError(f"{name}.safetensors is not what was written")
    return load(data), described


def has_files(folder: Path, name: str) -> bool:
    """Whether a folder holds such a classifier."""
    return (folder / f"{name}.json").is_file()


def parts(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Return the arrays of one part, ``name.*``."""
    return {k.removeprefix(f"{name}."): v for k, v in arrays.items() if k.startswith(f"{name}.")}
