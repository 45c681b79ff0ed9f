"""Errors that say what was wrong and which call fixes it."""

from __future__ import annotations

from typing import Any

_LONGEST = 200


class GeneMambaError(Exception):
    """Base of every error this package raises on purpose.

    Parameters
    ----------
    what
        What was wrong, with the offending value.
    fix
        The call or change that fixes it.
    """

    def __init__(self, what: str, fix: str = "") -> None:
        self.what = what
        self.fix = fix
        super().__init__(f"{what}\n  Fix: {fix}" if fix else what)


class InputError(GeneMambaError, ValueError):
    """The data or an argument cannot be used as given; nothing has been written."""


class CheckpointError(GeneMambaError, ValueError):
    """A checkpoint is missing, damaged, or does not fit its own description."""


class MapError(GeneMambaError, ValueError):
    """A reference map is missing, damaged, or does not fit the model."""


class GeneMambaWarning(UserWarning):
    """Something the reader of the result has to know."""


def shown(value: Any) -> str:
    """Write a value as in code, cut where it is long, for a message."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or lists in lists
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
