"""What an analyst should know of an annotation: kept in ``uns``, and printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genemamba.heads import LabelHead
from genemamba.tokens import Measured

_SHOWN = 8  # classes that are printed by name


def counts_lost(head: LabelHead, cells: Measured | None) -> dict[str, Any]:
    """Return the shares of the counts that are not used, as far as they are known."""
    if cells is None:
        return {}
    lost = {"unknown_genes": cells.unknown}
    if head.measured is not None:
        known = 1 - cells.unknown
        lost["genes_not_in_reference"] = known * cells.elsewhere(head.measured.tokens)
    return {"counts_lost": lost}


def summary(about: Mapping[str, Any]) -> str:
    """Format what ``uns`` keeps of an annotation as a few lines."""
    n, unknown = about["annotated"], about["unknown"]
    first = f"{n:,} cell{'s' * (n != 1)} annotated"
    if about["params"]["unknown"]:
        first += f', {unknown:,} ({unknown / n:.1%}) of them "unknown"'
    lines = [first, _scores(about), _tissue(about), _genes(about), _counts(about), _absent(about)]
    return "\n  ".join(line for line in lines if line)


def _scores(about: Mapping[str, Any]) -> str:
    used = about["method"] if about.get("reads", "embedding") == "embedding" else about["reads"]
    if scores := about.get("candidates"):
        used = about["used"]
        best = sorted(scores, key=lambda name: (name != used, -scores[name]))
        named = [f"{name} {scores[name]:.2f}{' (used)' * (name == used)}" for name in best]
        return f"macro-F1 on held-out cells: {', '.join(named)}"
    score = about.get("held_out_macro_f1")
    return "" if score is None else f"macro-F1 on held-out cells: {used} {score:.2f}"


def _tissue(about: Mapping[str, Any]) -> str:
    if (guess := about.get("tissue_guess")) is None:
        return ""
    parts = zip(guess["tissues"], guess["shares"], strict=True)
    return "cell types as in: " + ", ".join(f"{name} ({share:.0%})" for name, share in parts)


def _genes(about: Mapping[str, Any]) -> str:
    if about.get("panel"):
        return (
            "many genes of a whole transcriptome are not measured: unknown cells are told by "
            "confidence alone"
        )
    if (cut := about.get("reference_genes")) is None:
        return ""
    return (
        f"reference read on the {cut['number']:,} genes that adata measures, too "
        f"({cut['share_of_counts']:.0%} of its counts)"
    )


def _counts(about: Mapping[str, Any]) -> str:
    if (lost := about.get("counts_lost")) is None:
        return ""
    text = f"counts not used: {lost['unknown_genes']:.1%} (genes unknown to the model)"
    if "genes_not_in_reference" in lost:
        text += f", {lost['genes_not_in_reference']:.1%} (genes that the reference lacks)"
    return text


def _absent(about: Mapping[str, Any]) -> str:
    if not len(names := about.get("perhaps_absent", ())):
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"perhaps absent: {', '.join(names[:_SHOWN])}{more}"
