"""Errors that say what was wrong and which call fixes it."""

from __future__ import annotations


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


class GeneMambaWarning(UserWarning):
    """Something the reader of the result has to know."""
