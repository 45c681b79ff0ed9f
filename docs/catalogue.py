"""The catalogue of errors: every message that the code can raise, with its remedy.

Read from the source, so that it cannot differ from it. ``conf.py`` writes it before each build.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SRC = Path(__file__).parents[1] / "src" / "genemamba"
ERRORS = ("InputError", "CheckpointError", "MapError", "GeneMambaError")


class Entry(NamedTuple):
    """One place that raises an error."""

    module: str
    line: int
    kind: str
    what: str
    fix: str


def entries(src: Path = SRC) -> Iterator[Entry]:
    """Find the errors in the order of the source."""
    for file in sorted(src.rglob("*.py")):
        module = ".".join(["genemamba", *file.relative_to(src).with_suffix("").parts])
        tree = ast.parse(file.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        for call in sorted(calls, key=lambda node: node.lineno):
            if isinstance(call.func, ast.Name) and call.func.id in ERRORS and call.args:
                given = [*call.args, *(keyword.value for keyword in call.keywords)]
                what, fix = (text(node) for node in [*given, ast.Constant("")][:2])
                yield Entry(module, call.lineno, call.func.id, what, fix)


def text(node: ast.expr) -> str:
    """Write a message down, with names in braces for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text, node.values))
    if isinstance(node, ast.BinOp):
        return text(node.left) + text(node.right)
    if isinstance(node, ast.IfExp):
        return f"{text(node.body)} | {text(node.orelse)}"
    if isinstance(node, ast.BoolOp):
        return " | ".join(map(text, node.values))
    if isinstance(node, ast.FormattedValue):
        node = node.value
        if isinstance(node, ast.IfExp | ast.Constant | ast.JoinedStr):
            return text(node)
    names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    names += [n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)]
    return "{" + (names[-1] if names else "…") + "}"


def markdown() -> str:
    """Return the catalogue as a page, one section a module."""
    lines, module = [], ""
    for entry in entries():
        if entry.what.startswith("{") and entry.what.endswith("}"):
            continue  # hands on what another place says
        if entry.module != module:
            module = entry.module
            lines += ["", f"### `{module}`", "", "| message | remedy |", "|---|---|"]
        cells = (cell.replace("|", "or").replace("\n", " ") for cell in (entry.what, entry.fix))
        lines.append("| " + " | ".join(f"{cell}" for cell in cells) + " |")
    return "\n".join(lines).strip() + "\n"


def write(folder: Path) -> None:
    """Write the page where ``api/errors.md`` includes it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "catalogue.md").write_text(markdown(), encoding="utf-8")
