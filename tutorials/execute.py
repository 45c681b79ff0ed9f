"""Execute tutorials and store their outputs: ``python tutorials/execute.py [09_atlas …]``.

Nothing that a clock decides is stored, so on the same machine a second run changes no byte.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
MOST_SECONDS = 180


def execute(source: Path) -> None:
    """Convert a script to a notebook, run it in a new kernel, and write it next to the script."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02}"
    begun = time.monotonic()
    NotebookClient(
        notebook,
        timeout=MOST_SECONDS,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": HERE}},
    ).execute()
    seconds = time.monotonic() - begun
    notebook.metadata.pop("language_info", None)  # it names the version of Python
    nbformat.write(notebook, source.with_suffix(".ipynb"))
    print(f"{source.stem:28} {seconds:5.0f} s", flush=True)
    if seconds > MOST_SECONDS:
        sys.exit(f"{source.stem} took more than {MOST_SECONDS} s")


if __name__ == "__main__":
    os.environ["TQDM_DISABLE"] = "1"  # bars tell the time
    named = [HERE / f"{name}.py" for name in sys.argv[1:]]
    for script in named or sorted(HERE.glob("[0-9]*.py")):
        execute(script)
