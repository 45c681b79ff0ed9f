"""What is said while something takes long, wherever it is said to."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from genemamba import _progress
from genemamba._progress import Progress, say, tqdm


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, closed()])
def test_a_stream_that_is_closed_hears_nothing(
    stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(_progress, "_ESTIMATED_AFTER", 0.0)
    monkeypatch.setattr(_progress, "_LONG", 0.0)
    with Progress("embed", 10, "cell", 10) as bar:
        bar._bar.delay = 0
        for _ in range(3):
            bar.update(1)
    assert list(tqdm(range(3), mininterval=0)) == [0, 1, 2]
    say("something")


@pytest.mark.parametrize(("encoding", "expected"), [("ascii", "2 ? 3\n"), ("utf-8", "2 × 3\n")])
def test_signs_that_an_encoding_has_not(
    encoding: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    say("2 × 3")
    stream.flush()
    assert stream.buffer.getvalue().decode(encoding) == expected  # type: ignore[attr-defined]
