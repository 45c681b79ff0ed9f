"""Small files of a checkpoint, read with a limit to their size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genemamba.errors import CheckpointError, shown

AGAIN = "fetch or copy the checkpoint again"
_MOST_BYTES = {"genes.csv": 64 * 2**20, "ranking.csv": 16 * 2**20}  # many times what they need


def require_small(path: Path) -> None:
    """Reject a file that is missing, or too large to be read into memory safely."""
    if not path.is_file():
        raise CheckpointError(f"{path.parent} holds no {path.name}", AGAIN)
    most = _MOST_BYTES.get(path.name, 2**20)
    if path.stat().st_size > most:
        raise CheckpointError(f"{path} has more than {most} bytes, which it cannot need", AGAIN)


def read_json(path: Path) -> dict[str, Any]:
    """Read a small JSON object."""
    require_small(path)
    try:
        return parse_json(path.read_bytes(), path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error})", AGAIN) from None


def parse_json(text: bytes, path: Path) -> dict[str, Any]:
    """Parse a JSON object; duplicate names and NaN or Infinity are rejected."""
    try:
        parsed = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: no valid JSON ({error})", AGAIN) from None
    if not isinstance(parsed, dict):
        raise CheckpointError(f"{path} is damaged: its JSON is not an object", AGAIN)
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
