"""The model card of a run, written from its records."""

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

    `scores` is JSON of ``benchmarks/quality.py``; `limits` is Markdown on limits of use.
    """
    config, run = read_json(folder / "config.json"), read_json(folder / RUN)
    parts = [_what(config, run), _saw(config["provenance"]), _trained(config, run), _curve(folder)]
    parts.append(_scores(read_json(scores), run["recipe"]["name"]) if scores else _NO_SCORES)
    if limits:
        parts.append(limits.read_text(encoding="utf-8").strip())
    text = "\n\n".join(part for part in parts if part) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")


_NO_SCORES = """## Scores

None yet: these weights have not been evaluated on labelled cells."""


def _what(config: dict[str, Any], run: dict[str, Any]) -> str:
    sizes, provenance = config["config"], config["provenance"]
    return f"""# {run["recipe"]["name"]}

A GeneMamba model of human cells: embedding width {sizes["d_model"]}, {sizes["n_layers"]} Bi-Mamba
layers, {provenance["genes"]:,} genes. sha256 of the weights: `{config["weights_sha256"]}`."""


def _saw(provenance: dict[str, Any]) -> str:
    data, corpus = provenance["recipe"]["data"], provenance["corpus"]
    held = data["held_out"]
    rows = "\n".join(
        f"| {file} | {kept:,}{' (held out)' if Path(file).stem in held else ''} |"
        for file, kept in corpus["files"].items()
    )
    whole = f" Held out completely: {', '.join(held)}." if held else ""
    profiles = f", and {provenance['profiles']:,} average profiles, from which cells are drawn"
    labelled = provenance["labelled"]
    labels = f"labels for {labelled:,} of all cells" if labelled else "no labels"
    return f"""## Training data

A corpus of {provenance["cells"]:,} human cells from {provenance["libraries"]} libraries, raw
counts{profiles if provenance["profiles"] else ""}; {labels}.
For evaluation, {data["held_out_share"]:.0%} of each library were held out.{whole}

| file | cells |
|---|---|
{rows}"""


def _trained(config: dict[str, Any], run: dict[str, Any]) -> str:
    recipe, corpus = run["recipe"], config["provenance"]["corpus"]
    data, optimiser = recipe["data"], recipe["optimiser"]
    weights = {k: v for k, v in recipe["objectives"].items() if k in _OBJECTIVES and v}
    mix = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
    seen = f"{run['cells']:,} cells and {run['tokens'] / 1e6:,.0f} million tokens"
    share = optimiser.get("start_share", 0)
    mixed = f" The final weights contain {share:.0%} of the initial ones." if share else ""
    return f"""## Training

Objectives and their weights: {mix}. Up to {data["length"]} genes per view, {data["cells"]} cells of
one library per micro-batch, {data["micro_batches"]} micro-batches per step. AdamW, peak rate
{optimiser["learning_rate"]:g}, {optimiser["schedule"]}, {run["steps"]:,} steps: {seen}
in {run["hours"]:.1f} hours.{mixed} The complete recipe is in `config.json`; with the same corpus,
`genemamba pretrain RECIPE.toml --corpus CORPUS --out OUT` repeats the run (sha256 of the corpus
`{corpus["sha256"][:16]}…`)."""


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
         "often one part of a cell is nearest to its other part):", "", *lines]
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
         "Frozen embedding of unseen cells, compared with random weights and PCA-50 of the set.",
         "Where batches or donors are known, one is left out at a time.", "", *lines]
    )  # fmt: skip
