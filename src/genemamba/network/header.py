"""The header of a safetensors file: which tensors it holds, and where.

The library checks that sizes and offsets agree with each other and with the file. Added here: a
limit to what is read, and names that are unique.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from genemamba.errors import CheckpointError, shown

AGAIN = "fetch or copy the checkpoint again"
MAX_HEADER = 4 * 2**20  # 48 layers need 50 kB


@dataclass(frozen=True)
class Slot:
    """One tensor: bytes `start` to `stop` of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Header:
    """The tensors of a file and its metadata."""

    slots: dict[str, Slot]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """Read the header of a safetensors file; raise CheckpointError if it contradicts the file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER:
                raise SafetensorError(f"a header of {length} bytes is longer than {MAX_HEADER}")
            text = file.read(length)
        with safe_open(path, framework="np"):
            pass  # mapped and checked
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}", AGAIN) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error})", AGAIN) from None
    entries = parse_json(text, str(path))
    metadata = entries.pop("__metadata__", {})
    slots = {}
    for name, entry in entries.items():
        start, stop = (8 + length + offset for offset in entry["data_offsets"])
        slots[name] = Slot(entry["dtype"], tuple(entry["shape"]), start, stop)
    return Header(slots, metadata)


def parse_json(text: bytes, where: str) -> dict[str, Any]:
    """Parse a JSON object; duplicate names and NaN or Infinity are rejected."""
    try:
        parsed = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is damaged: no valid JSON ({error})", AGAIN) from None
    if not isinstance(parsed, dict):
        raise CheckpointError(f"{where} is damaged: its JSON is not an object", AGAIN)
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{shown(name)} occurs twice")
        found[name] = value
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def first_difference(
    slots: dict[str, Slot], expected: Iterator[tuple[str, tuple[int, ...]]], dtypes: set[str]
) -> str:
    """Say which tensor is missing, unknown, or of a wrong shape or dtype; "" if none is."""
    seen = set()
    for name, shape in expected:  # stops at the first that is missing, however many are expected
        if name not in slots:
            return f"tensor {name} is missing"
        if slots[name].shape != shape:
            return f"tensor {name} has shape {shown(list(slots[name].shape))}, not {list(shape)}"
        if slots[name].dtype not in dtypes:
            return f"tensor {name} has dtype {slots[name].dtype}, not a float type"
        seen.add(name)
    if extra := sorted(slots.keys() - seen):
        return f"tensor {shown(extra[0])} has no place in this model"
    return ""
