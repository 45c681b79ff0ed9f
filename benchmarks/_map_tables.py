"""The tables of docs/benchmarks.md about reference maps: as in `_tables.py`."""

from __future__ import annotations

from _tables import TERMS, Result, grid, number, spread

ON_MAP = {"map": "`map`", "corrected": "`map`, `correct=True`", "knn": "`annotate`, `knn`"}
ON_MAP |= {"symphony": "symphonypy", "plain": "symphonypy, not corrected"}
ON_MAP["annotate"] = "`annotate`"
LABELS = {"f1": "macro-F1", "ece": "ECE", "unknown": "unknown", "f1_unknown": "F1, unknown wrong"}
NEAR = {"same": "same type", "mostly": "mostly", "same_known": "same, type on the map",
        "mostly_known": "mostly, type on the map"}  # fmt: skip


def map(result: Result) -> dict[str, str]:
    """Return the tables of those parts that were run."""
    made = {}
    if moved := result.get("transfer"):
        rows = [
            [name, f"{found['folds']}", ON_MAP[row], *(spread(own, key) for key in LABELS),
             *(number(own.get(key)) for key in ("same", "mostly"))]
            for name, found in moved.items()
            for row, own in found["rows"].items()
        ]  # fmt: skip
        head = ["set", "maps", "", *LABELS.values(), "same type", "mostly"]
        changed = [name for name, found in moved.items() if not found["unchanged"]]
        said = f"Maps that changed when cells were laid on them: {', '.join(changed) or 'none'}."
        made["map"] = f"{said}\n\n{grid(head, rows)}"
        four = moved.get("pbmc_combined_4batch", {"by_fold": {}})
        rows = [
            [fold, ON_MAP[row], *(number(own[key], ".2f") for key in NEAR)]
            for fold, found in four["by_fold"].items()
            for row, own in found.items()
        ]
        made["map-batches"] = grid(["batch left out", "", *NEAR.values()], rows)
    if asked := result.get("quality"):
        columns = list(dict.fromkeys(key for own in asked.values() for key in own))
        rows = [[name, *(number(own.get(key), ".2f") for key in columns)]
                for name, own in asked.items()]  # fmt: skip
        made["map-quality"] = grid(["map of", *columns], rows)
    if body := result.get("body"):
        keys = {**TERMS, "stated": "stated", "ece": "ECE"}
        rows = [[name, f"{found['cells']:,}", ON_MAP[row],
                 *(number(found[row].get(key), ".2f") for key in keys)]
                for name, found in body.items() for row in ("map", "annotate")]  # fmt: skip
        made["map-body"] = grid(["set", "cells", "", *keys.values()], rows)
        rows = [[name, f"{own['first']} ({own['first_fold']:.1f})",
                 f"{own['own']} ({own['own_fold']:.1f})", f"{own['place']}",
                 f"{own['types_own_first']} of {own['types']}"]
                for name, own in ((n, found["tissue"]) for n, found in body.items())]  # fmt: skip
        head = ["set", "first (fold)", "its own (fold)", "place", "types with its own first"]
        made["map-tissues"] = grid(head, rows)
    return made | ({"map-time": _map_time(result["time"])} if "time" in result else {})


def _map_time(found: Result) -> str:
    rows = [
        [name, f"{own['cells']:,}", f"{own['width']}", f"{own['bytes'] / 1e6:.1f} MB",
         f"{own['map_cells_per_s']:,.0f}", f"{own['corrected_cells_per_s']:,.0f}"]
        for name, own in found["maps"].items()
    ]  # fmt: skip
    said = (
        f"`build_map` of {found['cells']:,} embedded cells: {found['build_seconds']:.1f} s, after "
        f"its first call of the process ({found['first_seconds']:.0f} s). `embed`: "
        f"{found['embed_cells_per_s']:.0f} cells/s. Cells laid: {found['asked']:,}."
    )
    head = ["map", "cells", "width", "size", "`map`, cells/s", "corrected, cells/s"]
    return f"{said}\n\n{grid(head, rows)}"
