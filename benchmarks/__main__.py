"""One entry point for all benchmarks.

    python benchmarks                       what there is, one question each
    python benchmarks NAME [OPTIONS …]      run NAME.py; the JSON of its result is the last line
    python benchmarks --keep NAME …         and add a line to docs/benchmarks/NAME.jsonl

A kept line says what was run, on which commit, versions and machine; the newest is the last.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
HISTORY = HERE.parent / "docs" / "benchmarks"
MAKERS = ("blood_head", "reconstruct_models")  # make what others measure
PACKAGES = ("genemamba", "torch", "numpy", "numba", "anndata", "scanpy", "transformers")


def names() -> dict[str, str]:
    """Return each benchmark and the question it asks, the first line of its script."""
    scripts = sorted(HERE.glob("[!_]*.py"))
    first = {s.stem: str(ast.get_docstring(ast.parse(s.read_text()))) for s in scripts}
    return {name: text.split("\n", 1)[0] for name, text in first.items() if name not in MAKERS}


def machine() -> dict[str, Any]:
    """Say what the figures depend on besides the code."""
    import torch

    from genemamba._machine import cores, memory, processor

    found = {"processor": processor(), "cores": cores(), "memory_gb": round(memory(), 1)}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found | {"threads": torch.get_num_threads()}


def commit() -> str:
    """Return the commit of this checkout, marked if it has changed since."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def run(name: str, options: list[str]) -> tuple[int, str]:
    """Run a script, show what it prints, and return how it ended and its last line."""
    command, last = [sys.executable, str(HERE / f"{name}.py"), *options], ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return process.returncode, last


def keep(name: str, options: list[str], commit: str, result: dict[str, Any]) -> Path:
    """Add a result to the history."""
    # a folder of data is called differently on every machine
    shown = [
        "DATA" if before == "--data" else option
        for before, option in zip(["", *options], options, strict=False)
    ]
    entry = {
        "command": " ".join(["python benchmarks", name, *shown]),
        "commit": commit,
        "versions": {package: version(package) for package in PACKAGES},
        "machine": machine(),
        "result": result,
    }
    HISTORY.mkdir(exist_ok=True)
    with (HISTORY / f"{name}.jsonl").open("a", encoding="utf-8") as history:
        history.write(json.dumps(entry) + "\n")
    return HISTORY / f"{name}.jsonl"


def main() -> int:
    """Run one benchmark, or list them."""
    arguments, there = sys.argv[1:], names()
    kept = arguments[:1] == ["--keep"]
    name, *options = arguments[kept:] or [""]
    if name not in there:
        if name:
            print(f"no benchmark is called {name!r}; there are:", file=sys.stderr)
        print("\n".join(f"{known:16}{question}" for known, question in there.items()))
        return 2 if name else 0
    measured = commit()
    code, last = run(name, options)
    if kept and code == 0:
        print("kept in", keep(name, options, measured, json.loads(last)))
    return code


if __name__ == "__main__":
    sys.exit(main())
