"""The model card of an adapted model, and its summary in two lines."""

from __future__ import annotations

from typing import Any

from genemamba.network import GeneMamba

_TITLES = {
    "predicted": "other half predicted",
    "neighbours": "neighbours shared",
    "found": "other part found",
    "contrast": "contrast",
    "masked": "hidden genes",
}


def summary(adapted: dict[str, Any]) -> str:
    """Say what was won on held-out cells."""
    before, after = (adapted["scores"][name] for name in ("unchanged", adapted["kept"]))
    changes = ", ".join(
        f"{title} {before[name]:.3f} → {after[name]:.3f}"
        for name, title in _TITLES.items()
        if name in before
    )
    held = f"{adapted['held_out']:,} held-out cells"
    if adapted["kept"] == "unchanged":
        return f"adapt: training did not help {held}, so the model stays unchanged ({changes})"
    return f"adapt: {float(adapted['kept']):.0%} of the training is kept; {held}: {changes}"


def card(model: GeneMamba) -> str:
    """Return ``README.md``: from what, to which cells, and held-out scores by share."""
    adapted, sizes = model.provenance["adapted"], model.config
    parts = [
        f"# {model.provenance['name']}",
        f"A GeneMamba model (embedding width {sizes.d_model}, {sizes.n_layers} Bi-Mamba layers), "
        "adapted to the cells below with `gm.tl.adapt`, without labels. The card of the model that "
        "it was adapted from describes the cells that were seen before.",
        *(_one(own) for own in _chain(adapted)),
        "Scores on these cells are not zero-shot: the model has seen them, though no label.",
    ]
    return "\n\n".join(parts) + "\n"


def _chain(adapted: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the adaptations, the last one first."""
    return [adapted, *(_chain(adapted["before"]) if "before" in adapted else [])]


def _one(own: dict[str, Any]) -> str:
    libraries = "\n".join(f"| {name} | {n:,} |" for name, n in own["libraries"].items())
    names = [name for name in _TITLES if name in own["scores"]["unchanged"]]
    head = f"| share | {' | '.join(_TITLES[name] for name in names)} |"
    rows = "\n".join(
        f"| {share}{' (kept)' if share == own['kept'] else ''} | "
        f"{' | '.join(f'{scores[name]:.3f}' if name in scores else '–' for name in names)} |"
        for share, scores in own["scores"].items()
    )
    line = "|---" * (len(names) + 1) + "|"
    return f"""## Adapted from {own["from"]}

sha256 of its weights: `{own["from_sha256"]}`. {own["steps"]:,} steps on {own["trained_on"]:,} of
{own["cells"]:,} cells, seed {own["seed"]}. {own["held_out"]:,} cells were held out; they decided
with which share the trained weights are averaged with those before training (share 0), in which
factors of the cells are {own["factors"]:.0%} of the gene vectors, or whether the model stays
unchanged.

| library | cells |
|---|---|
{libraries}

On held-out cells, without labels. Other half predicted, which decides: correlation of one half of
a cell's counts with that of its neighbours, which the other half chose. Neighbours shared: by both
halves. Other part found: how often a part of a cell is nearest to its other part. Then losses.

{head}
{line}
{rows}"""
