"""The tables of docs/benchmarks.md: what each benchmark found, as Markdown.

A renderer takes the JSON of a result and returns tables by the name of their file in
docs/benchmarks/tables. A part that was not run has no table. Those of speed are in `_timings.py`,
those of reference maps in `_map_tables.py`.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Result = Mapping[str, Any]
BASELINES = {"random": "random weights", "pca": "PCA-50", "hvg": "HVG"}
SPACE = {"avg_bio": "AvgBIO", "ari": "ARI", "nmi": "NMI", "asw_label": "ASW"}
SPACE |= {"avg_batch": "AvgBATCH", "asw_batch_within": "ASW batch"}
SPACE |= {"graph_connectivity": "connectivity", "bras": "BRAS", "ilisi": "iLISI"}
BOTH = ("f1", "avg_bio")  # a regression of the types, and what a map shows
QUALITY = {"f1": "macro-F1", "knn": "kNN", **SPACE, "scgraph": "scGraph"}


def grid(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table."""
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: Any, form: str = ".3f") -> str:
    """Return a number, or a dash where there is none."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "–" if missing else format(value, form)


def spread(row: Result, key: str) -> str:
    """Return a mean with its standard deviation, where it is known."""
    sd = number(row.get(f"{key}_sd"))
    return number(row.get(key)) + ("" if sd == "–" else f" ± {sd}")


def scores(rows: Mapping[str, Result], columns: Mapping[str, str], titles: Result) -> str:
    """Return a table of rows × those columns that any row has."""
    used = {key: title for key, title in columns.items() if any(key in r for r in rows.values())}
    body = ([titles.get(name, name), *(spread(row, key) for key in used)]
            for name, row in rows.items())  # fmt: skip
    return grid(["", *used.values()], body)


def sections(parts: Mapping[str, str]) -> str:
    """Put a title over each part: no heading, because files are included at any level."""
    return "\n\n".join(f"**{title}**\n\n{text}" for title, text in parts.items())


def quality(result: Result) -> dict[str, str]:
    titles = {"model": f"**{result['model']}**", "former": "former release", **BASELINES}
    parts = {}
    for name, found in result["sets"].items():
        about = (
            f"{found['cells']:,} cells, {found['types']} types; {found['split']} "
            f"({found['folds']} folds); {found['genes_known']:,} of {found['genes']:,} genes "
            f"known, {found['counts_lost']:.1%} of counts lost."
        )
        for group, types in found["unseen"].items():
            about += f"\nWith {group} held out no training cell shows {', '.join(types)}: scored 0."
        parts[name] = f"{about}\n\n{scores(found['rows'], QUALITY, titles)}"
    return {"quality": sections(parts), "quality-summary": _summary(result["sets"], titles)}


def _by_score(sets: Mapping[str, Mapping[str, Result]], titles: Mapping[str, str]) -> list[str]:
    """Return a table of sets × rows for each of the two scores that say most."""
    rows = {row: title for row, title in titles.items() if any(row in own for own in sets.values())}
    return [
        grid(
            [QUALITY[key], *rows.values()],
            ([name, *(number(own.get(row, {}).get(key)) for row in rows)]
             for name, own in sets.items()),
        )
        for key in BOTH
    ]  # fmt: skip


def _reached(sets: Mapping[str, Mapping[str, Result]], row: str, other: str, key: str) -> set[str]:
    """Return the sets where a row is at or above another in a score."""
    return {
        name for name, own in sets.items()
        if {row, other} <= own.keys() and own[row][key] >= own[other][key]
    }  # fmt: skip


def _summary(sets: Mapping[str, Result], titles: Result) -> str:
    judged = {name: found["rows"] for name, found in sets.items()}
    f1, bio = (_reached(judged, "model", "pca", key) for key in BOTH)
    said = (
        f"At or above PCA-50 of the set: macro-F1 on {len(f1)} of {len(sets)} sets, AvgBIO on "
        f"{len(bio)}, both on {len(f1 & bio)}"
    )
    names = [name for name in sets if name in f1 & bio]
    listed = f" ({', '.join(names)})." if names else "."
    return "\n\n".join([*_by_score(judged, titles), said + listed])


def robustness(result: Result) -> dict[str, str]:
    columns = ("f1", "1000 counts", "500 counts", "1000 genes", "300 genes")
    rows = [
        [name, row, *(number(found.get(key)) for key in columns)]
        for name, own in result["sets"].items()
        for row, found in own.items()
    ]
    return {"robustness": grid(["set", "", "macro-F1, full", *columns[1:]], rows)}


ADAPT = {"zero-shot": "zero-shot", "adapted": "**adapted**", "pca": "PCA-50", "scvi": "scVI"}


def adapt(result: Result) -> dict[str, str]:
    held, sets = ("predicted", "neighbours"), result["sets"]
    apart = {
        f"{name}: {found['apart']['batch']}": found["apart"]
        for name, found in sets.items()
        if found.get("apart")
    }

    def part(own: Mapping[str, Result]) -> str:
        about = (
            [name, f"{found['cells']:,}", found["kept"],
             *(" → ".join(number(v) for v in found[key]) for key in held),
             f"{found['steps']}", f"{found['seconds']:.0f}"]
            for name, found in own.items()
        )  # fmt: skip
        head = ["", "cells", "kept", *(f"{name}, before → after" for name in held)]
        judged = {name: found["rows"] for name, found in own.items()}
        tables = [*_by_score(judged, ADAPT), grid([*head, "steps", "seconds"], about)]
        return "\n\n".join(tables)

    judged = {name: found["rows"] for name, found in sets.items()}
    said = []
    for row in ("zero-shot", "pca", "scvi"):
        if known := sum(row in own for own in judged.values()):
            reached = [_reached(judged, "adapted", row, key) for key in BOTH]
            said.append(f"{ADAPT[row]} on {len(set.intersection(*reached))} of {known}")
    text = f"{part(sets)}\n\nAt or above, in both scores: {', '.join(said)} sets."
    return {
        "adapt": f"{text}\n\nA batch that was not adapted to:\n\n{part(apart)}" if apart else text
    }


METHODS = {"auto": "`auto` (the default)", "probe": "`probe`", "knn": "`knn`"}
METHODS |= {"finetune": "`finetune`", "expression": "logistic regression on expression"}
METHODS |= {"pca": "logistic regression on PCA-50"}
ANNOTATE = {"accuracy": "accuracy", "f1": "macro-F1", "balanced": "balanced", "ece": "ECE"}
ANNOTATE |= {"coverage": "coverage", "size": "size", "seconds": "seconds"}
TERMS = {"right": "right", "finer": "finer", "wrong": "wrong", "unknown": "unknown"}
STATED = {"stated": "stated", "right_or_finer": "not wrong", "ece": "ECE"}


def annotate(result: Result) -> dict[str, str]:
    tuned = any("finetune" in rows for rows in result["types"].values())
    about = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result["size"].items())
    parts = {name: scores(rows, ANNOTATE, METHODS) for name, rows in result["types"].items()}
    return {
        "annotate-finetune" if tuned else "annotate-types": f"Sizes: {about}.\n\n{sections(parts)}"
    }


def terms(result: Result) -> dict[str, str]:
    sets = result["sets"]
    rows = [
        [name, f"{found['cells']:,}", level,
         *(number(found[level].get(key), ".2f") for key in (*TERMS, *STATED))]
        for name, found in sets.items()
        for level in ("broad", "auto", "fine")
    ]  # fmt: skip
    table = grid(["set", "cells", "level", *TERMS.values(), *STATED.values()], rows)
    groups = [
        [
            name,
            *(number(found["clusters"][key], ".2f") for key in TERMS),
            ", ".join(found["tissues"]),
        ]
        for name, found in sets.items()
    ]
    clusters = grid(["set", *TERMS.values(), "tissues it guesses"], groups)
    blood = {name: found["lineages"] for name, found in sets.items() if "lineages" in found}
    kinds = sorted({kind for own in blood.values() for kind in own})
    lineages = grid(["", *kinds], [[name, *(number(own.get(k), ".2f") for k in kinds)]
                                   for name, own in blood.items()])  # fmt: skip
    return {"terms": table, "terms-clusters": clusters, "terms-lineages": lineages}


def unknown(result: Result) -> dict[str, str]:
    rows = []
    for name, own in result["types"].items():
        each = ", ".join(f"{kind} {found['found']:.0%}" for kind, found in own["types"].items())
        rows.append([name, number(own["found"], ".2f"), number(own["false"], ".2f"), each])
    types = grid(["set", "found", "false", "found, by type"], rows)
    parts = {
        name: {f"of {other}": share for other, share in own.items()} | result["panels"][name]
        for name, own in result["others"].items()
    }
    columns = list(dict.fromkeys(key for own in parts.values() for key in own))
    others = grid(["reference", *columns], [[name, *(number(own.get(k), ".2f") for k in columns)]
                                            for name, own in parts.items()])  # fmt: skip
    return {"unknown": types, "unknown-others": others}


def integrate(result: Result) -> dict[str, str]:
    model = result["model"]
    titles = {"pca": "PCA-50", "harmony": "Harmony", "frozen": f"{model}, zero-shot",
              "integrated": f"**{model}, integrated**",
              "tuned": f"{model}, label-tuned"}  # fmt: skip
    parts = {
        name: f"{found['cells']:,} cells, {found['types']} types, {found['batches']} batches.\n\n"
        + scores(found["rows"], SPACE, titles)
        for name, found in result["sets"].items()
    }
    shown = [key for key in SPACE if key in ("avg_bio", "avg_batch", "bras", "ilisi")]
    rows = [
        [name, titles[row], *(spread(found, key) for key in shown)]
        for name, own in result["sets"].items()
        for row, found in own["held_out"].items()
        if row != "pca"
    ]
    tuned = grid(["set", "", *(SPACE[key] for key in shown)], rows)
    return {"integrate": sections(parts), "integrate-tuned": tuned}


HIDDEN = {"spearman": "Spearman", "recall_50": "of 50", "recall": "found"}
EDITS = {"levenshtein": "edits", "bleu": "BLEU"}
RECONSTRUCT = {
    "masked": HIDDEN | EDITS,
    "paper": EDITS | {"spearman": "Spearman", "levenshtein_10": "edits, ten cells",
                      "bleu_10": "BLEU, ten cells"},
    "next": {"spearman": "Spearman", "recall": "found"} | EDITS,
}  # fmt: skip
TRAINED = {
    "genemamba-mini": "**genemamba-mini**",
    "both": "hidden genes, both ways",
    "forward": "hidden genes, forwards only",
    "paper": "next gene, both ways",
    "causal": "next gene, forwards only",
}


def reconstruct(result: Result) -> dict[str, str]:
    tables = {}
    for protocol, columns in RECONSTRUCT.items():
        rows = [
            [name, TRAINED.get(row, row),
             *(number(found.get(key), ".1f" if "lev" in key else ".3f") for key in columns)]
            for name, own in result["sets"].items()
            for row, found in own.get(protocol, {}).items()
        ]  # fmt: skip
        if rows:
            tables[f"reconstruct-{protocol}"] = grid(["set", "", *columns.values()], rows)
    return tables


def genes(result: Result) -> dict[str, str]:
    pairs = result["pairs"]
    names = list(dict.fromkeys(row for found in pairs.values() for row in found["rows"]))

    def table(cell: Callable[[Result], str]) -> str:
        drawn = ["pairs drawn → used", *(f"{p['drawn']:,} → {p['used']:,}" for p in pairs.values())]
        rows = [[name, *(cell(p["rows"].get(name, {})) for p in pairs.values())] for name in names]
        return grid(["", *pairs], [drawn, *rows])

    def auroc(key: str) -> Callable[[Result], str]:
        def cell(row: Result) -> str:
            low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
            between = "" if low is None else f" ({low:.3f}–{high:.3f})"
            return number(row.get(key)) + between

        return cell

    def distances(row: Result) -> str:
        values = "/".join(number(row.get(key)) for key in ("euclidean", "kl", "js"))
        return f"{values} ({number(row.get('js_shuffled'))})"

    sets = ("Hallmark", "Reactome")
    modules = grid(
        ["", "modules", *sets],
        [
            [name, f"{own['modules']}"]
            + [f"{own[f'{title}: modules']} ({own[f'{title}: sets']})" for title in sets]
            for name, own in result["modules"].items()
        ],
    )
    return {
        "genes-pairs": table(auroc("auroc")),
        "genes-recombined": table(auroc("auroc_matched")),
        "genes-distances": table(distances),
        "genes-modules": modules,
    }


PERTURB = {
    "cosine": ("cosine shift", ".1e"), "cosine_controls": ("controls'", ".1e"),
    "p_shift": ("p (shift)", ".3f"), "towards": ("towards T", ".2f"),
    "towards_controls": ("controls'", ".2f"), "score": ("score", ".4f"),
    "score_controls": ("controls'", ".4f"), "rank": ("rank", ".0f"), "p_away": ("p, away", ".3f"),
    "p_score": ("p, two-sided", ".3f"), "fdr_score": ("FDR", ".3f"),
}  # fmt: skip


def perturb(result: Result) -> dict[str, str]:
    rows, parts, tables = [], {}, {}
    for name, own in result["sets"].items():
        for gene, found in own.get("perturb", {}).get("table", {}).items():
            values = (number(found.get(key), form) for key, (_, form) in PERTURB.items())
            rows.append([name, gene, f"{found['changed']:.0f} of {found['cells']:.0f}", *values])
        if "attribute" in own:
            ranks = own["attribute"]["ranks"]
            ways = next(iter(ranks.values()))
            body = [[marker, *(f"{found[way]:,}" for way in ways)]
                    for marker, found in ranks.items()]  # fmt: skip
            cells = own["attribute"]["cells_per_kind"]
            parts[f"{name}, {cells} cells of each kind"] = grid(["marker", *ways], body)
    if rows:
        head = ["set", "deleted", "T cells changed", *(title for title, _ in PERTURB.values())]
        tables["perturb"] = grid(head, rows)
    return tables | ({"attribute": sections(parts)} if parts else {})


LINEAGES = {"f1": "macro-F1", "B": "B", "T": "T", "NK": "NK", "myeloid": "myeloid"}
LINEAGES |= {"none": "no lineage"}


def mouse(result: Result) -> dict[str, str]:
    titles = {"model": f"**{result['model']}**", "renamed": "renamed by hand", **BASELINES}
    sets = result["sets"]
    counts = [
        [name, f"{own['genes']:,}", *(number(own[key]) for key in ("current", "mapped", "read"))]
        for name, own in sets.items()
    ]
    parts = {
        f"{name}, {own['cells']:,} cells, {own['types']} types": scores(
            own["rows"], {"f1": "macro-F1", **SPACE}, titles
        )
        for name, own in sets.items() if "rows" in own
    }  # fmt: skip
    head = ["set", "genes", "current names", "with former names", "in genes of the model"]
    return {
        "mouse-counts": grid(head, counts),
        "mouse": sections(parts),
        "mouse-lineages": scores(result["lineages"]["rows"], LINEAGES, {}),
    }


def ablation(result: Result) -> dict[str, str]:
    """Make one row of several seeds, "row", "row (1)", …: mean ± standard deviation."""
    seeds: dict[str, list[Result]] = {}
    for name, row in result["rows"].items():
        seeds.setdefault(re.sub(r" \(\d+\)$", "", name), []).append(row)
    columns = list(next(iter(seeds.values()))[0]["mean"])
    body = []
    for name, rows in seeds.items():
        found = {key: [row["mean"][key] for row in rows] for key in columns}
        own = {key: statistics.fmean(values) for key, values in found.items()}
        if len(rows) > 1:
            own |= {f"{key}_sd": statistics.stdev(values) for key, values in found.items()}
        taken = [row["cpu_seconds"] for row in rows if "cpu_seconds" in row]
        seconds = number(statistics.fmean(taken) if taken else None, ",.0f")
        body.append([name, str(len(rows)), *(spread(own, key) for key in columns), seconds])
    titles = {"f1": "macro-F1", "avg_bio": "AvgBIO"}
    head = ["", "seeds", *(titles.get(key, key) for key in columns), "CPU seconds"]
    return {"ablation": grid(head, body)}
