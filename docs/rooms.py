"""The picture of the architecture page: the rooms of the package, and who imports whom.

Computed from the source, so that it cannot differ from it. ``conf.py`` writes it before each build.
A room is drawn above all rooms that it imports; an arrow that follows from others is left out.
"""

from __future__ import annotations

import ast
from pathlib import Path

SRC = Path(__file__).parents[1] / "src" / "genemamba"
FACE = "__init__"  # hands names on, and is no room
WIDTH, HEIGHT, GAP = 118, 46, 34
INK, FILL = "#7f8c99", "#3b82c4"


def rooms(src: Path = SRC) -> dict[str, list[Path]]:
    """Return the files of each room; single files at the top are rooms, too."""
    found: dict[str, list[Path]] = {}
    for file in sorted(src.rglob("*.py")):
        path = file.relative_to(src).with_suffix("").parts
        if path != (FACE,):
            found.setdefault(path[0], []).append(file)
    return found


def arrows(found: dict[str, list[Path]]) -> dict[str, set[str]]:
    """Return the rooms that each room imports when it is imported itself, or later."""
    return {
        room: {
            name.split(".")[1]
            for file in files
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and node.module
            for name in ([f"{node.module}.{alias.name}" for alias in node.names])
            if name.startswith("genemamba.") and name.split(".")[1] in found
        }
        - {room}
        for room, files in found.items()
    }


def floors(uses: dict[str, set[str]]) -> dict[str, int]:
    """Return the floor of each room: one above the highest that it imports.

    Raises
    ------
    ValueError
        If rooms import each other in a circle.
    """
    level: dict[str, int] = {}

    def visit(room: str, way: tuple[str, ...]) -> int:
        if room in way:
            raise ValueError(" → ".join([*way, room]))
        if room not in level:
            level[room] = 1 + max((visit(r, (*way, room)) for r in uses[room]), default=0)
        return level[room]

    for room in uses:
        visit(room, ())
    return level


def plain(uses: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out arrows that follow from others."""

    def below(room: str) -> set[str]:
        return uses[room].union(*(below(r) for r in uses[room]))

    return {room: own - set().union(*(below(r) for r in own)) for room, own in uses.items()}


def draw() -> str:
    """Return the picture as SVG."""
    found = rooms()
    uses = arrows(found)
    level = floors(uses)
    rows = [sorted(r for r in level if level[r] == n) for n in range(max(level.values()), 0, -1)]
    width = max(map(len, rows)) * (WIDTH + GAP)
    at = {
        room: ((width - len(row) * (WIDTH + GAP) + GAP) / 2 + x * (WIDTH + GAP), y * (HEIGHT + GAP))
        for y, row in enumerate(rows)
        for x, room in enumerate(row)
    }
    lines = [
        f'<line x1="{at[a][0] + WIDTH / 2}" y1="{at[a][1] + HEIGHT}" x2="{at[b][0] + WIDTH / 2}" '
        f'y2="{at[b][1] - 4}" stroke="{INK}" stroke-opacity=".55" marker-end="url(#to)"/>'
        for a, below in plain(uses).items()
        for b in sorted(below)
    ]
    boxes = [
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{FILL}" '
        f'fill-opacity=".18" stroke="{FILL}"/><text x="{x + WIDTH / 2}" y="{y + 19}" '
        f'font-weight="bold">{room}</text><text x="{x + WIDTH / 2}" y="{y + 36}" font-size="11">'
        f"{sum(len(f.read_text().splitlines()) for f in found[room]):,} lines</text>"
        for room, (x, y) in at.items()
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -8 {width + 16} '
        f'{len(rows) * (HEIGHT + GAP)}" font-family="sans-serif" font-size="13" fill="{INK}" '
        'text-anchor="middle"><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="{INK}"/></marker>'
    )
    return "\n".join([head, *lines, *boxes, "</svg>\n"])


def write(folder: Path) -> None:
    """Write ``rooms.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rooms.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parent / "_static")
