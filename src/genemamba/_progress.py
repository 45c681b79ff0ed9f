"""What is said while something takes long: a bar, and once, what it will take."""

from __future__ import annotations

import sys
import time
import warnings
from types import TracebackType
from typing import Any

from genemamba._machine import peak_memory

with warnings.catch_warnings():  # without ipywidgets bars are of text, which is no news
    warnings.simplefilter("ignore")
    from tqdm.auto import tqdm as _tqdm

__all__ = ["Progress", "duration", "say", "tqdm"]

_TOLD_AFTER, _LONG = 2.0, 30.0  # seconds until a run is judged; a longer one is announced


class tqdm(_tqdm):
    """A bar that is silent where standard error is closed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(
            *args, **(options if _is_open(sys.stderr) else {**options, "disable": True})
        )


def say(text: str, to: str = "stdout") -> None:
    """Print to ``sys.stdout`` or ``sys.stderr``, unless closed; "?" for signs it does not have."""
    stream = getattr(sys, to)
    if _is_open(stream):
        encoding = getattr(stream, "encoding", None) or "utf-8"
        tqdm.write(text.encode(encoding, "replace").decode(encoding), file=stream)


def _is_open(stream: Any) -> bool:
    return stream is not None and not getattr(stream, "closed", False)


class Progress:
    """A bar that appears after three seconds, and an estimate if there is half a minute to go.

    Parameters
    ----------
    doing
        What is done, such as "embed".
    total, unit
        What there is to do, and of what.
    n_cells
        The cells in it.
    on
        Where and how, for the estimate.
    shown
        Whether anything is said at all.
    """

    def __init__(
        self, doing: str, total: int, unit: str, n_cells: int, *, on: str = "", shown: bool = True
    ) -> None:
        self.doing, self.total, self.n_cells, self.on = doing, total, n_cells, on
        quiet: Any = {} if shown else {"disable": True}  # else as TQDM_DISABLE has it
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

    def update(self, n: int) -> None:
        """Note that so much more is done."""
        self._bar.update(n)
        if not self._begun:  # the first part warms up, and says nothing about the others
            self._begun = time.monotonic()
            return
        self._done += n
        seconds = time.monotonic() - self._begun
        if self._told or seconds <= _TOLD_AFTER:
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
    """Write a time in the units one would use."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
