"""What is said while something takes long, wherever it is said to."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba import _progress
from genemamba._progress import Progress, say, tell, tell_end, tqdm
from genemamba.cells import blocks, counts
from genemamba.network import GeneMamba


@pytest.fixture(autouse=True)
def _shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show bars, however short an operation is."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(_progress, "_DELAY", 0.0)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    found = logging.getLogger("genemamba")
    yield found
    found.setLevel(logging.NOTSET)
    found.handlers.clear()


class Unheard(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, closed(), Unheard()])
def test_work_goes_on_where_nobody_hears(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    if not isinstance(stream, Unheard):  # what a command found has to arrive
        monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(_progress, "_ESTIMATED_AFTER", 0.0)
    monkeypatch.setattr(_progress, "_LONG", 0.0)
    with Progress("embed", 10) as bar:
        for _ in range(3):
            bar.update(1)
    assert list(tqdm(range(3), mininterval=0)) == [0, 1, 2]
    say("something")
    tell_end("embed", 10, 0.0)


@pytest.mark.parametrize(("encoding", "expected"), [("ascii", "2 ? 3\n"), ("utf-8", "2 × 3\n")])
def test_signs_that_an_encoding_has_not(
    encoding: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    say("2 × 3")
    stream.flush()
    assert stream.buffer.getvalue().decode(encoding) == expected  # type: ignore[attr-defined]


class Clock:
    """A time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("time.monotonic", found)
    monkeypatch.setattr("tqdm.std.time", found)
    return found


def test_an_hour_in_a_log_is_a_few_lines_with_the_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_progress, "_DELAY", 3.0)
    begun = clock.now
    with Progress("embed", 36_000) as bar:
        clock.now += 20  # of warm-up
        bar.update(10)
        for _ in range(3599):
            clock.now += 1
            bar.update(10)
    tell_end("embed", 36_000, begun, "obsm['X_genemamba']")
    first, estimate, *middle, last = capsys.readouterr().err.splitlines()
    assert estimate.startswith("embed: about 1 h 00 min for 36,000 cells (10 cells/s);")
    assert "40 of 36,000 cells" in first and first.endswith("[00:03<59:56]")
    assert 5 < len(middle) < 12
    assert last == "embed: 36,000 cells in 1 h 00 min → obsm['X_genemamba']"


def test_short_operations_are_silent(clock: Clock, capsys: pytest.CaptureFixture[str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(_progress, "_DELAY", 3.0)
    with Progress("embed", 20) as bar:
        for _ in range(20):
            clock.now += 0.1
            bar.update(1)
    tell_end("embed", 20, 1000.0, "obsm['X_genemamba']")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("how", ["TQDM_DISABLE", "level", "disabled", "logging.disable"])
def test_one_call_silences_all(
    how: str, logger: logging.Logger, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if how == "TQDM_DISABLE":
        monkeypatch.setenv(how, "1")
    elif how == "level":
        logger.setLevel("WARNING")
    elif how == "disabled":
        monkeypatch.setattr(logger, "disabled", True)
    else:
        monkeypatch.setattr(logger.manager, "disable", logging.INFO)
    tell("something")
    tell_end("embed", 10, 0.0)
    assert list(tqdm(range(3), mininterval=0)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
    monkeypatch.undo()
    logger.setLevel(logging.NOTSET)
    tell("something")
    assert capsys.readouterr() == ("", "something\n")


def test_a_handler_of_the_logger_takes_the_lines(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    logger.addHandler(logging.StreamHandler(stream))
    logger.setLevel("INFO")
    tell("something")
    tell_end("embed", 2000, -1e9)
    assert stream.getvalue().startswith("something\nembed: 2,000 cells in ")
    assert capsys.readouterr() == ("", "")


def test_a_store_that_resumes_says_what_was_there(
    pbmc: AnnData, small_model: GeneMamba, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(counts, "BLOCK", 64)
    monkeypatch.setattr(blocks, "BLOCK", 64)
    pbmc.write_h5ad(tmp_path / "cells.h5ad")
    out = tmp_path / "out.zarr"
    write, begun = blocks.Progress.reach, list[int]()

    def stopped(bar: Progress, n: int) -> None:
        begun.append(n)
        write(bar, n)
        if n > 300:
            raise KeyboardInterrupt

    def call() -> str:
        gm.tl.embed(tmp_path / "cells.h5ad", out=out, model=small_model)
        return capsys.readouterr().err

    with monkeypatch.context() as patch:
        patch.setattr(blocks.Progress, "reach", stopped)
        with pytest.raises(KeyboardInterrupt):
            call()
    assert begun == [64, 128, 192, 256, 320]
    assert "there already" not in capsys.readouterr().err
    said = call()
    assert "embed: 320 of 700 cells were there already" in said
    assert f" s → {out}: obsm['X_genemamba']" in said
    assert len(ad.read_zarr(out)) == 700
    assert "embed: all 700 cells were there already" in call()


NOTEBOOK = """
import numpy as np
import genemamba as gm
from genemamba import _progress
_progress._DELAY = 0.0  # bars are shown at once
adata = __import__("anndata").read_h5ad("cells.h5ad")
reference = adata[::2].copy()
##
gm.tl.embed(adata, model="model", batch_size=4)
##
gm.tl.annotate(adata, reference=reference, label_key="bulk_labels", model="model", method="knn",
               batch_size=4)
##
gm.tl.integrate(adata, "batch", model="model", batch_size=4)
##
gm.metrics.compare(adata, "bulk_labels", model="model", baselines=["random", "pca"])
"""


def test_a_notebook_keeps_one_line_for_each_operation(
    pbmc: AnnData, small_model: GeneMamba, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Really executed, where ipywidgets cannot be imported."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    (tmp_path / "ipywidgets.py").write_text("raise ImportError('is not installed')")
    path = [str(tmp_path), str(Path(gm.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    small_model.save_pretrained(tmp_path / "model")
    pbmc[:120].write_h5ad(tmp_path / "cells.h5ad")
    cells = [nbformat.v4.new_code_cell(code) for code in NOTEBOOK.split("##")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    first, embed, annotate, integrate, compare = ("".join(texts(cell)) for cell in cells)
    assert first == ""
    assert "embed: 120 cells in" in embed and "→ obsm['X_genemamba']" in embed
    assert "annotate: 120 cells in" in annotate and "→ obs['genemamba_label']" in annotate
    assert "→ obsm['X_genemamba_integrated']" in integrate
    assert "embed: 100%" in compare and "120 of 120 cells" in compare
    lines = [line for cell in cells for text in texts(cell) for line in text.splitlines()]
    assert len(lines) < 40, lines
    assert not [line for line in lines if "\r" in line or "TqdmWarning" in line]


def texts(cell: Any) -> list[str]:
    """Return what the outputs of a cell show as text, without the table that a call returns."""
    return [
        output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"]
        for output in cell["outputs"]
        if output["output_type"] != "execute_result"
    ]
