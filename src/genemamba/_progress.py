"""What is said while an operation runs: a bar, an estimate of the time, and a closing line.

All of it goes to standard error, or where the user's handlers of the logger "genemamba" take it.
``TQDM_DISABLE=1``, or a level of that logger above INFO, silences it.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from contextlib import AbstractContextManager, nullcontext, suppress
from types import TracebackType
from typing import Any
from uuid import uuid4

from tqdm import tqdm as _tqdm

from genemamba._machine import peak_memory

with warnings.catch_warnings():  # other packages import it, too; it asks for ipywidgets once
    warnings.simplefilter("ignore")
    from tqdm import auto as _auto  # noqa: F401

__all__ = ["Progress", "duration", "say", "tell", "tell_end", "tqdm"]

_LOGGER = logging.getLogger("genemamba")
_DELAY = 3.0  # seconds until a bar appears; shorter operations have no closing line either
_ESTIMATED_AFTER, _LONG = 2.0, 30.0  # seconds until an estimate; shown if it is longer
_CELLS = "{l_bar}{bar}| {n:,.0f} of {total:,} cells [{elapsed}<{remaining}]"


class tqdm(_tqdm):
    """A bar for where standard error goes: a terminal, a notebook or a log; or a silent one."""

    monitor_interval = 0  # its thread would write to notebooks

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | _medium())


def say(text: str, to: str = "stdout") -> None:
    """Print to ``sys.stdout`` or ``sys.stderr`` unless closed; "?" for unsupported characters."""
    stream = getattr(sys, to)
    if _is_open(stream):
        encoding = getattr(stream, "encoding", None) or "utf-8"
        with _unheard(to):
            tqdm.write(text.encode(encoding, "replace").decode(encoding), file=stream)


def tell(text: str) -> None:
    """Log, or print to standard error, unless the user asked for silence."""
    if _silenced():
        return
    if _redirected():
        _LOGGER.info(text)
    else:
        say(text, "stderr")


def tell_end(doing: str, n_cells: int, begun: float, to: str = "") -> None:
    """Close an operation that took more than a few seconds: how many cells, how long, where to."""
    seconds = time.monotonic() - begun
    if seconds <= _DELAY:
        return
    text = f"{doing}: {n_cells:,} cells in {duration(seconds)}" + (f" → {to}" if to else "")
    if not _Notebook.close(text) or _redirected():
        tell(text)


def _silenced() -> bool:
    if os.environ.get("TQDM_DISABLE", "").lower() not in ("", "0", "false"):
        return True
    above = max(_LOGGER.level, _LOGGER.manager.disable + 1)  # logging.disable(INFO) drops INFO
    return above > logging.INFO or _LOGGER.disabled


def _redirected() -> bool:
    return _LOGGER.isEnabledFor(logging.INFO) and _LOGGER.hasHandlers()


def _is_open(stream: Any) -> bool:
    return stream is not None and not getattr(stream, "closed", False)


def _unheard(to: str) -> AbstractContextManager[None]:
    """Suppress that nobody reads standard error any longer, so that work continues."""
    return suppress(OSError) if to == "stderr" else nullcontext()


def _medium() -> dict[str, Any]:
    """Return the options of a bar where standard error goes."""
    if _silenced() or not _is_open(sys.stderr):
        return {"disable": True}
    if _shell() is not None:
        return {"file": _Notebook(), "mininterval": 0.5, "leave": True}
    terminal = hasattr(sys.stderr, "isatty") and sys.stderr.isatty()
    return {} if terminal else {"file": _Log()}


def _shell() -> Any:
    """Return the shell of a notebook, if this is one."""
    known = sys.modules.get("IPython")
    shell = None if known is None else known.get_ipython()
    return shell if hasattr(shell, "kernel") else None


class _Notebook:
    """One place in the output of a notebook's cell, where every text replaces the one before.

    It needs no ipywidgets, and the notebook keeps the last text only. The bars of one operation
    share the place, and its closing line takes it.
    """

    encoding = "utf-8"
    _open: tuple[int, str] | None = None  # the cell of the notebook, and the place

    def write(self, text: str) -> None:
        """Show a state of a bar; what moves the cursor of a terminal is left out."""
        if "\r" in text and (line := text.strip("\r\n ")):
            self._show(line)

    def flush(self) -> None:
        """Do nothing: everything is shown at once."""

    @classmethod
    def _show(cls, line: str) -> None:
        shell = _shell()
        again = cls._open is not None and cls._open[0] == shell.execution_count
        if cls._open is None or not again:
            cls._open = shell.execution_count, uuid4().hex
        place = {"display_id": cls._open[1]}
        shell.display_pub.publish({"text/plain": line}, transient=place, update=again)

    @classmethod
    def close(cls, line: str) -> bool:
        """Replace the bar of this cell of the notebook, if there is one; return whether."""
        shell = None if cls._open is None or _silenced() else _shell()
        cell = None if cls._open is None else cls._open[0]
        mine = shell is not None and shell.execution_count == cell
        if mine:
            cls._show(line)
        cls._open = None
        return mine


class _Log:
    """A log file or a pipe: a line after three seconds, then each time twice as late."""

    def __init__(self) -> None:
        self.stream, self.begun, self.next = sys.stderr, time.monotonic(), 0.0
        self.encoding = getattr(self.stream, "encoding", None)

    def write(self, text: str) -> None:
        """Print a state of a bar, if it is time for one."""
        after, line = time.monotonic() - self.begun, text.strip("\r\n ")
        if line and after >= self.next:
            self.next = 2 * after
            with _unheard("stderr"):
                print(line, file=self.stream, flush=True)

    def flush(self) -> None:
        """Do nothing: each line is flushed."""


class Progress:
    """A bar that counts cells, and an estimate if a run takes over half a minute.

    Parameters
    ----------
    doing
        The operation, such as "embed".
    n_cells
        How many cells there are in all.
    there
        How many of them were there already.
    on
        Where it runs, for the estimate.
    shown
        Show it, unless the user asked for silence.
    """

    def __init__(
        self, doing: str, n_cells: int, *, there: int = 0, on: str = "", shown: bool = True
    ) -> None:
        self.doing, self.on = doing, on
        self._bar = tqdm(
            total=n_cells, initial=there, desc=doing, delay=_DELAY, leave=False,
            bar_format=_CELLS, smoothing=0, disable=not shown,
        )  # fmt: skip
        self._left, self._done, self._there = n_cells - there, 0.0, there
        self._told, self._begun, self._first = False, 0.0, 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def expect(self, n_cells: int) -> None:
        """Say how many cells there are, once that is known."""
        self._left = n_cells
        self._bar.total = n_cells

    def tell(self, text: str) -> None:
        """Say something on the way, unless all is done in a moment."""
        if text and not self._bar.disable and time.monotonic() - self._begun > _ESTIMATED_AFTER:
            tell(text)

    def reach(self, n: int) -> None:
        """Advance to `n` of the cells."""
        self.update(n - self._there - self._done)

    def update(self, n: float) -> None:
        """Advance by `n` cells; a part of one is the share of its batch that is done."""
        n = min(n, self._left - self._done)
        self._done += n
        if not self._begun:  # the first part includes warm-up, which no rate should
            self._begun, self._first = time.monotonic(), self._done
            self._bar.unpause()
            self._bar.update(n)
            self._bar.initial = self._bar.n
            return
        self._bar.update(n)
        seconds, done = time.monotonic() - self._begun, self._done - self._first
        if self._told or seconds <= _ESTIMATED_AFTER or done <= 0:
            return
        self._told, whole = True, seconds * self._left / done
        if whole > _LONG and not self._bar.disable:
            tell(self._estimate(whole))

    def _estimate(self, seconds: float) -> str:
        return (
            f"{self.doing}: about {duration(seconds)} for {self._left:,} cells "
            f"({self._left / seconds:,.0f} cells/s{self.on}); "
            f"{peak_memory():.1f} GB of memory so far"
        )


def duration(seconds: float) -> str:
    """Format a time in suitable units."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
