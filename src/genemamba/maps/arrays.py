"""Arrays in one safetensors file, read from disk as they are needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from genemamba._files import replacing
from genemamba.errors import MapError

AGAIN = "fetch or build the map again"


def write_arrays(arrays: Mapping[str, np.ndarray], file: Path) -> None:
    """Write arrays, whole or not at all; the same arrays give the same bytes."""
    with replacing(file) as new:
        new.write_bytes(save({name: np.ascontiguousarray(a) for name, a in arrays.items()}))


def map_arrays(file: Path) -> dict[str, np.ndarray]:
    """Return read-only arrays that are read from disk when they are used."""
    try:
        with safe_open(file, framework="np"):  # checks sizes and offsets
            pass
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
    except (OSError, SafetensorError, ValueError) as error:
        raise MapError(f"{file} is missing or damaged ({error})", AGAIN) from None
    header.pop("__metadata__", None)
    start = 8 + length
    found = {}
    for name, slot in header.items():
        shape, offset = tuple(slot["shape"]), start + slot["data_offsets"][0]
        if 0 in shape:  # nothing can be mapped
            found[name] = np.empty(shape, _DTYPES[slot["dtype"]])
        else:
            found[name] = np.memmap(file, _DTYPES[slot["dtype"]], "r", offset, shape)
    return found


_DTYPES = {
    "BOOL": np.dtype(bool), "U8": np.dtype("<u1"), "I8": np.dtype("<i1"),
    "U16": np.dtype("<u2"), "I16": np.dtype("<i2"), "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"), "U64": np.dtype("<u8"), "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8"),
}  # fmt: skip
