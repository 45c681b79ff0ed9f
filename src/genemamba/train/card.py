"""The model card of a run, made from what the run wrote down."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from genemamba.network.files import read_json
from genemamba.train.run_folder import METRICS, RUN

CARD = "README.md"
_CHECKS = 8  # rows of the curve
_SCORES = {"macro-F1": "f1", "AvgBIO": "avg_bio"}


def write_card(folder: Path, *, scores: Path | None = None, limits: Path | None = None) -> None:
    """Write ``README.md`` into the folder of a finished run.

    Parameters
    ----------
    folder
        A checkpoint that :func:`genemamba.tl.pretrain` made.
    scores
        JSON of ``benchmarks/quality.py``, for a table of benchmark scores.
    limits
        Markdown: what comes with it and what it is not for.
    """
    config, run = read_json(folder / "config.json"), read_json(folder / RUN)
    parts = [_what(config, run), _saw(config["provenance"]), _trained(config, run), _curve(folder)]
    parts.append(_scores(read_json(scores), run["recipe"]["name"]) if scores else _NO_SCORES)
    if limits:
        parts.append(limits.read_text(encoding="utf-8").strip())
    text = "\n\n".join(part for part in parts if part) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")


_NO_SCORES = """## Scores

None yet: nobody has judged these weights on labelled cells."""


def _what(config: dict[str, Any], run: dict[str, Any]) -> str:
    sizes, said = config["config"], config["provenance"]
    return f"""# {run["recipe"]["name"]}

A GeneMamba model of human cells: embedding width {sizes["d_model"]}, {sizes["n_layers"]} Bi-Mamba
layers, {said["genes"]:,} genes. sha256 of the weights: `{config["weights_sha256"]}`."""


def _saw(said: dict[str, Any]) -> str:
    held = said["recipe"]["data"]["held_out"]
    rows = "\n".join(
        f"| {file} | {kept:,}{' (held out)' if Path(file).stem in held else ''} |"
        for file, kept in said["corpus"]["files"].items()
    )
    left = f" Held out whole: {', '.join(held)}." if held else ""
    drawn = f", and {said['profiles']:,} average profiles, from which cells are drawn"
    labels = f"labels of {said['labelled']:,} of all cells" if said["labelled"] else "no labels"
    return f"""## What it saw

A corpus of {said["cells"]:,} human cells of {said["libraries"]} libraries, raw
counts{drawn if said["profiles"] else ""}; {labels}.
To judge it, {said["recipe"]["data"]["held_out_share"]:.0%} of each library were held out.{left}

| file | cells |
|---|---|
{rows}"""


def _trained(config: dict[str, Any], run: dict[str, Any]) -> str:
    recipe, said = run["recipe"], config["provenance"]
    data, optimiser = recipe["data"], recipe["optimiser"]
    weights = {k: v for k, v in recipe["objectives"].items() if k in _OBJECTIVES and v}
    mix = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
    seen = f"{run['cells']:,} cells and {run['tokens'] / 1e6:,.0f} million tokens"
    share = optimiser.get("start_share", 0)
    mixed = f" A share of {share:.0%} in the weights is that of the start." if share else ""
    return f"""## How it was trained

Objectives and their weights: {mix}. Up to {data["length"]} genes a view, {data["cells"]} cells of
one library in a micro-batch, {data["micro_batches"]} of these a step. AdamW, peak rate
{optimiser["learning_rate"]:g}, {optimiser["schedule"]}, {run["steps"]:,} steps: {seen}
in {run["hours"]:.1f} hours.{mixed} The whole recipe is in `config.json`; with the same corpus it
repeats the run: `genemamba pretrain RECIPE.toml --corpus CORPUS --out OUT` (sha256 of the corpus
`{said["corpus"]["sha256"][:16]}…`)."""


_OBJECTIVES = ("masked", "contrast", "labels", "profile", "next", "pathway")


def _curve(folder: Path) -> str:
    with (folder / METRICS).open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if any(_held_out(row).values())]
    if not rows:
        return ""
    step = max(1, -(-len(rows) // _CHECKS))
    rows = rows[::-1][::step][::-1]
    names = list(_held_out(rows[0]))
    lines = [f"| step | {' | '.join(name.replace('_', ' ') for name in names)} |"]
    lines.append("|---" * (len(names) + 1) + "|")
    for row in rows:
        values = " | ".join(f"{float(row[name]):.3f}" for name in names)
        lines.append(f"| {int(row['step']):,} | {values} |")
    return "\n".join(
        ["On held-out cells (study: whole studies; share: cells of training libraries; found: how",
         "often a part of a cell finds its other part first):", "", *lines]
    )  # fmt: skip


def _held_out(row: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in row.items() if k.startswith(("study_", "share_"))}


def _scores(result: dict[str, Any], name: str) -> str:
    head = "| set | " + " | ".join(f"{score} {name} / random / PCA-50" for score in _SCORES) + " |"
    lines = [head, "|---" * (len(_SCORES) + 1) + "|"]
    for bench, found in result["sets"].items():
        cells = [
            " / ".join(f"{found['rows'][row][key]:.3f}" for row in ("model", "random", "pca"))
            for key in _SCORES.values()
        ]
        lines.append(f"| {bench} | {' | '.join(cells)} |")
    return "\n".join(
        ["## Scores", "",
         "Frozen embedding, cells it never saw; random weights and PCA-50 of the set itself beside",
         "it. Where batches or donors are known one is left out at a time.", "", *lines]
    )  # fmt: skip
