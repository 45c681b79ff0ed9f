"""The page of stored runs: the contents of ``docs/benchmarks``, as tables.

``python benchmarks --keep NAME`` adds a line to ``docs/benchmarks/NAME.jsonl``; ``conf.py`` writes
the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_LEFT_OUT = {"benchmark", "processor", "torch"}  # shown in the heading


def markdown() -> str:
    """Return one section a benchmark, one table a run, the newest first."""
    lines = []
    for file in sorted((HERE / "benchmarks").glob("*.jsonl")):
        lines += [f"### {file.stem}", ""]
        for text in reversed(file.read_text(encoding="utf-8").splitlines()):
            lines += _run(json.loads(text))
    return "\n".join(lines) + "\n"


def _run(kept: dict[str, Any]) -> list[str]:
    machine, versions = kept["machine"], kept["versions"]
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    head = (
        f"`{kept['command']}`, commit `{kept['commit']}`; {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gb']:.0f} GB; {said}"
    )
    rows = [
        f"| {name} | {value} |" for name, value in _flat(kept["result"]) if name not in _LEFT_OUT
    ]
    return [head, "", "| figure | value |", "|---|---|", *rows, ""]


def _flat(result: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each figure under a name made of all that leads to it."""
    if isinstance(result, dict):
        for key, value in result.items():
            yield from _flat(value, f"{name} {key}".strip())
    elif isinstance(result, list):
        for i, value in enumerate(result):
            yield from _flat(value, f"{name} {i + 1}")
    elif isinstance(result, float):
        yield name, f"{result:,.4g}"
    else:
        yield name, f"{result:,}" if type(result) is int else str(result)


def write(folder: Path) -> None:
    """Write the page where ``benchmarks.md`` includes it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kept.md").write_text(markdown(), encoding="utf-8")
