"""Tutorials: a notebook holds what its script says, with outputs that tell neither time nor place.

`make tutorials` executes them; this only reads.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "tutorials"
SCRIPTS = sorted(FOLDER.glob("[0-9]*.py"))
_CELL = re.compile(r"^# %%( \[markdown\])?\n", re.M)


def cells(script: Path) -> list[tuple[str, str]]:
    """Read kind and source of every cell of a script in percent format."""
    _, *parts = _CELL.split(script.read_text(encoding="utf-8"))
    found = []
    for kind, text in zip(parts[::2], parts[1::2], strict=True):
        if kind:
            text = re.sub(r"^# ?", "", text, flags=re.M)
        found.append(("markdown" if kind else "code", text.strip()))
    return found


def notebook(script: Path) -> list[dict[str, Any]]:
    return json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]


def test_there_are_nine() -> None:
    assert len(SCRIPTS) == 9


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_notebook_is_its_script_executed(script: Path) -> None:
    made = notebook(script)
    sources = [(cell["cell_type"], "".join(cell["source"]).strip()) for cell in made]
    assert sources == cells(script)
    code = [cell for cell in made if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs and not any(output["output_type"] == "error" for output in outputs)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_outputs_tell_neither_time_nor_place(script: Path) -> None:
    assert script.with_suffix(".ipynb").stat().st_size < 400_000
    for cell in notebook(script):
        assert "execution" not in cell["metadata"]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = "".join(output.get("text", [])) + "".join(data.get("text/plain", []))
            assert not re.search(r"/(tmp|home|root|work|Users)/|0x[0-9a-f]{6}", text)
