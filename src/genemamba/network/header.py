"""The header of a safetensors file, checked strictly before a tensor is touched.

A file is 8 bytes of length, a JSON header of that length, and the tensors' bytes without gaps.
Everything that can be wrong is found here, in bounded memory, so nothing that follows has to doubt
an offset.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genemamba.errors import CheckpointError

AGAIN = "fetch or copy the checkpoint again"
MAX_HEADER = 4 * 2**20  # 48 layers need 50 kB
MAX_NAME = 200
ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Slot:
    """Where one tensor lies: bytes `start` to `stop` of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Header:
    """The tensors of a file, in the order of their bytes, and its metadata."""

    slots: dict[str, Slot]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file.

    Raises
    ------
    CheckpointError
        If the file is no safetensors file, or its header contradicts itself or the file's size.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise _not(path, f"its header would be {length} bytes in a file of {size}")
            if length > MAX_HEADER:
                raise _not(path, f"its header of {length} bytes is longer than {MAX_HEADER}")
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error})", AGAIN) from None
    entries = parse_json(text, str(path))
    if not text.startswith(b"{"):
        raise _not(path, "its header does not begin with '{'")
    metadata = entries.pop("__metadata__", {})
    if not (isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())):
        raise _not(path, "its metadata is not a table of text")
    slots = {name: _slot(path, name, entry, 8 + length) for name, entry in entries.items()}
    slots = dict(sorted(slots.items(), key=lambda item: (item[1].start, item[1].stop)))
    _refuse_gaps(path, slots, 8 + length, size)
    return Header(slots, metadata)


def parse_json(text: bytes, where: str) -> dict[str, Any]:
    """Parse a JSON object; names that occur twice and numbers JSON does not know are refused."""
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
            raise ValueError(f"{name[:MAX_NAME]!r} occurs twice")
        found[name] = value
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _slot(path: Path, name: str, entry: Any, data: int) -> Slot:
    if not name.isprintable() or len(name) > MAX_NAME:
        raise _not(path, f"a tensor is called {name[:MAX_NAME]!a}")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _not(path, f"tensor {name} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (isinstance(dtype, str) and dtype in ITEM_BYTES):
        raise _not(path, f"tensor {name} has the unknown dtype {str(dtype)[:20]!r}")
    if not (_sizes(shape) and _sizes(offsets) and len(offsets) == 2 and len(shape) <= 8):
        raise _not(path, f"tensor {name} has a shape or data_offsets that are no sizes")
    start, stop = offsets
    if stop - start != math.prod(shape) * ITEM_BYTES[dtype]:
        raise _not(path, f"tensor {name} has {stop - start} bytes, not those of {dtype} × {shape}")
    return Slot(dtype, tuple(shape), data + start, data + stop)


def _sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _refuse_gaps(path: Path, slots: dict[str, Slot], start: int, size: int) -> None:
    for name, slot in slots.items():
        if slot.start != start:
            kind = "overlaps another" if slot.start < start else "leaves a gap before it"
            raise _not(path, f"tensor {name} {kind}")
        start = slot.stop
    if start != size:
        raise _not(path, f"its tensors end at byte {start}, the file at {size}")


def _not(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path} is truncated, damaged or not a safetensors file: {why}", AGAIN)


def first_difference(
    slots: dict[str, Slot], expected: Iterator[tuple[str, tuple[int, ...]]], dtypes: set[str]
) -> str:
    """Say which tensor is missing, too many, or of a wrong shape or dtype; "" if none is."""
    seen = set()
    for name, shape in expected:  # ends at the first that is missing, however many are expected
        if name not in slots:
            return f"tensor {name} is missing"
        if slots[name].shape != shape:
            return f"tensor {name} has shape {list(slots[name].shape)}, not {list(shape)}"
        if slots[name].dtype not in dtypes:
            return f"tensor {name} has dtype {slots[name].dtype}, not a float type"
        seen.add(name)
    if extra := sorted(slots.keys() - seen):
        return f"tensor {extra[0]} has no place in this model"
    return ""
