"""Settings in sections: every name, type and range is checked, and the error says what is allowed.

A section is a frozen dataclass; ``number``, ``whole`` and ``one_of`` say what its fields may be.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any, TypeVar

from genemamba.errors import InputError, shown

Section = TypeVar("Section")
_LARGEST = 1e300  # an int can be larger than any float


def number(default: float, low: float = 0.0, high: float = math.inf) -> Any:
    """Declare a number from `low` to `high`."""
    return field(default=default, metadata={"kinds": (int, float), "low": low, "high": high})


def whole(default: int, low: int = 0, high: float = math.inf) -> Any:
    """Declare a whole number from `low` to `high`."""
    return field(default=default, metadata={"kinds": (int,), "low": low, "high": high})


def one_of(default: str, *others: str) -> Any:
    """Declare a word out of a few."""
    return field(default=default, metadata={"kinds": (str,), "allowed": (default, *others)})


def read_section(kind: type[Section], values: Any, where: str) -> Section:
    """Make a section from a mapping; what is not given has its default.

    Raises
    ------
    InputError
        If a key is unknown, or a value has another type or is out of range.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where} is {shown(values)}", "make it a section of its own, with keys")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise unknown(key, list(known), where)
    return kind(**{k: _checked(v, known[k].metadata, f"{where} {k}") for k, v in values.items()})


def unknown(key: str, known: list[str], where: str) -> InputError:
    """Say that a key is unknown, and which is nearest."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    fix = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"{where} has no setting {shown(key)}", f"{fix}known are {', '.join(known)}")


def _checked(value: Any, allowed: Mapping[str, Any], where: str) -> Any:
    kinds = allowed.get("kinds")
    if kinds is None:  # bool, str or a list of str, by the section's own check
        return tuple(value) if isinstance(value, list) else value
    if not isinstance(value, kinds) or isinstance(value, bool):
        said = "text" if str in kinds else "a number" if float in kinds else "a whole number"
        raise InputError(f"{where} is {shown(value)}", f"give {said}")
    if "allowed" in allowed and value not in allowed["allowed"]:
        raise InputError(
            f"{where} is {shown(value)}", f"use {' or '.join(map(repr, allowed['allowed']))}"
        )
    if "low" in allowed and not allowed["low"] <= value <= min(allowed["high"], _LARGEST):
        low, high = allowed["low"], allowed["high"]
        to = f"to {high:g}" if math.isfinite(high) else "up"
        raise InputError(f"{where} is {shown(value)}", f"give a number from {low:g} {to}")
    return float(value) if float in kinds else value
