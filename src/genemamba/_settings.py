"""Settings in frozen dataclasses, whose fields declare the values they accept.

``number``, ``integer``, ``one_of``, ``switch``, ``string`` and ``names`` declare a field. Every
error names the setting and says what to give.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, field, fields
from numbers import Integral, Real
from typing import Any, TypeVar

from genemamba.errors import InputError, shown

Settings = TypeVar("Settings")
_LARGEST = 1e300  # an int can be larger than any float


def check_whole(name: str, value: Any, least: int = 1, also: str = "") -> None:
    """Raise unless an argument is a whole number, Python's or NumPy's, of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise InputError(
            f"{name}={shown(value)} is not a whole number of {least} or more",
            f"give {name}={max(least, 10)}, say{also}",
        )


def check_positive(name: str, value: Any, say: int) -> None:
    """Raise unless an argument is a number above 0; `say` is one to give."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 < float(value) < math.inf:
        raise InputError(f"{name}={shown(value)} is not a number above 0", f"give {name}={say}")


def check_share(name: str, value: Any) -> None:
    """Raise unless an argument is a number between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < 1:
        raise InputError(f"{name}={shown(value)} is not between 0 and 1", f"give {name}=0.5, say")


def number(default: float, low: float = 0.0, high: float = math.inf) -> Any:
    """Declare a number from `low` to `high`; whole numbers become floats."""
    return _declare(
        default, _between((int, float), low, high), f"give a number {_span(low, high)}", float
    )


def integer(default: Any = MISSING, low: int = 0, high: float = math.inf) -> Any:
    """Declare a whole number from `low` to `high`."""
    return _declare(default, _between(int, low, high), f"give a whole number {_span(low, high)}")


def one_of(default: str, *others: str) -> Any:
    """Declare one of a few words."""
    words = (default, *others)
    *most, last = map(repr, words)
    return _declare(
        default,
        lambda value: isinstance(value, str) and value in words,
        f"use {', '.join(most)} or {last}",
    )


def switch(default: bool) -> Any:
    """Declare true or false."""
    return _declare(default, lambda value: isinstance(value, bool), "use true or false")


def string(default: str = "") -> Any:
    """Declare a text."""
    return _declare(default, lambda value: isinstance(value, str), "give text")


def names() -> Any:
    """Declare a list of names, which is kept as a tuple."""
    return _declare(
        (),
        lambda value: isinstance(value, (list, tuple)) and all(isinstance(n, str) for n in value),
        "give a list of names",
        tuple,
    )


def problem(settings: Any) -> tuple[str, str]:
    """Return what is wrong with the first bad value of a dataclass, and the fix; "" if nothing."""
    for f in fields(settings):
        value = getattr(settings, f.name)
        if f.metadata and not f.metadata["accepts"](value):
            return f"{f.name} is {shown(value)}", f.metadata["fix"]
    return "", ""


def read_section(kind: type[Settings], values: Any, where: str) -> Settings:
    """Make settings from a mapping; what is missing keeps its default.

    Raises
    ------
    InputError
        If a key is unknown or a value is not accepted.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where} is {shown(values)}", "make it a section of its own, with keys")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    require_known(values, list(known), where)
    for key, value in values.items():
        if not known[key].metadata["accepts"](value):
            raise InputError(f"{where} {key} is {shown(value)}", known[key].metadata["fix"])
    return kind(**{k: known[k].metadata["stored"](v) for k, v in values.items()})


def require_known(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Refuse a mapping with an unknown key."""
    for key in given:
        if key not in known:
            raise unknown(key, known, where)


def unknown(key: str, known: Sequence[str], where: str) -> InputError:
    """Make the error for an unknown key, with the most similar known one."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    fix = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"{where} has no setting {shown(key)}", f"{fix}known are {', '.join(known)}")


def _as_is(value: Any) -> Any:
    return value


def _declare(
    default: Any, accepts: Callable[[Any], bool], fix: str, stored: Callable[[Any], Any] = _as_is
) -> Any:
    return field(default=default, metadata={"accepts": accepts, "fix": fix, "stored": stored})


def _between(kinds: Any, low: float, high: float) -> Callable[[Any], bool]:
    most = min(high, _LARGEST)
    return lambda v: isinstance(v, kinds) and not isinstance(v, bool) and low <= v <= most


def _span(low: float, high: float) -> str:
    return f"from {low:g} " + (f"to {high:g}" if math.isfinite(high) else "up")
