"""Progress of long operations: a bar, and one estimate of the total time."""

from __future__ import annotations

import sys
import time
import warnings
from types import TracebackType
from typing import Any

from genemamba._machine import peak_memory

with warnings.catch_warnings():  # no ipywidgets
    warnings.simplefilter("ignore")
    from tqdm.auto import tqdm as _tqdm

__all__ = ["Progress", "duration", "say", "tell", "tqdm"]

_ESTIMATED_AFTER, _LONG = 2.0, 30.0  # seconds until an estimate; shown if it is longer


class tqdm(_tqdm):
    """A bar that is silent if standard error is closed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(
            *args, **(options if _is_open(sys.stderr) else {**options, "disable": True})
        )


def say(text: str, to: str = "stdout") -> None:
    """Print to ``sys.stdout`` or ``sys.stderr`` unless closed; "?" for unsupported characters."""
    stream = getattr(sys, to)
    if _is_open(stream):
        encoding = getattr(stream, "encoding", None) or "utf-8"
        tqdm.write(text.encode(encoding, "replace").decode(encoding), file=stream)


def tell(text: str) -> None:
    """Print to standard error, unless bars are disabled (``TQDM_DISABLE``)."""
    with tqdm(delay=3, leave=False) as bar:
        quiet = bar.disable
    if not quiet:
        say(text, "stderr")


def _is_open(stream: Any) -> bool:
    return stream is not None and not getattr(stream, "closed", False)


class Progress:
    """A bar that appears after three seconds, and an estimate if a run takes over half a minute.

    `doing` names the operation, such as "embed"; `on` says where it runs, for the estimate.
    """

    def __init__(
        self, doing: str, total: int, unit: str, n_cells: int, *, on: str = "", shown: bool = True
    ) -> None:
        self.doing, self.total, self.n_cells, self.on = doing, total, n_cells, on
        quiet: Any = {} if shown else {"disable": True}  # else TQDM_DISABLE decides
        self._bar = tqdm(
            total=total, unit=unit, unit_scale=True, desc=doing, delay=3, leave=False, **quiet
        )
        self._told, self._done, self._begun = False, 0, 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def expect(self, total: int, n_cells: int) -> None:
        """Say how much there is to do, once that is known."""
        self.total, self.n_cells = total, n_cells
        self._bar.reset(total)

    def tell(self, text: str) -> None:
        """Say something on the way, unless all is done in a moment or bars are disabled."""
        if text and not self._bar.disable and time.monotonic() - self._begun > _ESTIMATED_AFTER:
            say(text, "stderr")

    def update(self, n: int) -> None:
        """Advance by `n`."""
        self._bar.update(n)
        if not self._begun:  # the first part includes warm-up
            self._begun = time.monotonic()
            return
        self._done += n
        seconds = time.monotonic() - self._begun
        if self._told or seconds <= _ESTIMATED_AFTER:
            return
        self._told, whole = True, seconds * self.total / self._done
        if whole > _LONG and not self._bar.disable:
            say(self._estimate(whole), "stderr")

    def _estimate(self, seconds: float) -> str:
        return (
            f"{self.doing}: about {duration(seconds)} for {self.n_cells:,} cells "
            f"({self.n_cells / seconds:,.0f} cells/s{self.on}); "
            f"{peak_memory():.1f} GB of memory so far"
        )


def duration(seconds: float) -> str:
    """Format a time in suitable units."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
