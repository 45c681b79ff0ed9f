"""The tables of docs/benchmarks.md that say how fast and how large: as in `_tables.py`."""

from __future__ import annotations

from typing import Any

from _tables import Result, grid, number


def speed(result: Result) -> dict[str, str]:
    tokens = f"{result['tokens_per_cell']:.0f} tokens a cell"
    about = f"{result['set']}, {result['cells']:,} cells, {tokens}"
    rows = [
        ["tokenise, from AnnData to AnnData", f"{result['tokenise_cells_per_s']:,} cells/s"],
        ["a per-cell numpy argsort loop, without looking up genes",
         f"{result['numpy_loop_cells_per_s']:,} cells/s"],
        [f"embed, end to end ({result['precision']})",
         f"{result['embed_seconds']:.0f} s, {result['embed_cells_per_s']:.0f} cells/s, "
         f"{result['embed_tokens_per_s']:,} tokens/s"],
        ["peak memory", f"{result['peak_memory_mb']:,} MB, of which "
         f"{result['memory_before_mb']:,} MB stand before the first call"],
    ]  # fmt: skip
    for row in ("model", "former"):
        if (taken := result.get(f"{row}_cpu_ms_per_cell")) is not None:
            title = {"model": result["model"], "former": "the former release"}[row]
            rows.append([f"CPU time of a cell, by turns: {title}", f"{taken:.1f} ms"])
    return {"speed": grid([about, ""], rows)}


def inference(result: Result) -> dict[str, str]:
    """Return a table for each part; of a GPU one for all."""
    made = {part: make(result[part]) for part, make in PARTS.items() if part in result}
    if result["device"] == "cuda":
        return {"inference-gpu": "\n\n".join(made.values())}
    return {f"inference-{part}": table for part, table in made.items()}


def _cells(found: list[dict[str, Any]]) -> str:
    titles = {
        "ours": "genemamba-mini, cells packed into rows of 2,048",
        "padded": "genemamba-mini, each cell padded to 2,048, 8 a batch",
        "bert": "BERT of Geneformer-V1-10M's shape, the same tokens, fused attention",
    }
    (row,) = found
    head = f"{row['cells']:,} cells of {row['set']}, {row['tokens_per_cell']:.0f} tokens a cell"
    body = [
        [title, f"{row['cells_per_s'][key]:.1f}", number(row.get(f"ours_over_{key}"), ".1f")]
        for key, title in titles.items()
    ]
    return grid([head, "cells/s", "genemamba-mini is faster by"], body)


def _length(found: list[dict[str, Any]]) -> str:
    body = [
        [f"{row['tokens']:,}", f"{row['us_per_token']:.1f}", f"{row['peak_memory_gb']:.2f} GB"]
        for row in found
    ]
    return grid(["8 or more cells of", "µs a token", "peak memory"], body)


def _model(found: list[dict[str, Any]]) -> str:
    titles = {
        "ours": "genemamba", "products": "its matrix products alone",
        "peer": "Mamba-2 of another package, once per direction",
    }  # fmt: skip
    head = ["24 layers × 512, rows of 2,048 tokens, random weights"]
    head += [f"{row['batch']} row{'s' * (row['batch'] > 1)}" for row in found]
    body = []
    for key in [key for key in titles if all(key in row for row in found)]:
        body.append([titles[key], *(f"{row[key]:.2f} s" for row in found)])
        if key == "products":
            ratios = [row["ours"] / row[key] for row in found]
            body.append(["genemamba over these", *(f"{ratio:.2f}" for ratio in ratios)])
        elif key == "peer":
            ratios = [row[key] / row["ours"] for row in found]
            body.append(["that over genemamba", *(f"{ratio:.1f}" for ratio in ratios)])
    return grid(head, body)


def _bert(found: list[dict[str, Any]]) -> str:
    body = [
        [f"{row['tokens']:,}", str(row["rows"]), f"{row['ours']:.3f} s", f"{row['bert']:.3f} s",
         f"{row['bert_over_ours']:.2f}"]
        for row in found
    ]  # fmt: skip
    return grid(["tokens", "rows", "genemamba", "BERT of as many weights", "ratio"], body)


PARTS = {"cells": _cells, "length": _length, "model": _model, "bert": _bert}


def waits(result: Result) -> dict[str, str]:
    titles = {
        "first, cold": "first `gm.tl.embed`, 700 cells, nothing compiled on the machine",
        "first, warm": "the same, compiled before",
        "embed": "256 cells of pbmc3k embedded",
        "perturb one": "`perturb`, one gene, 200 cells",
        "perturb ten": "`perturb`, ten genes towards a type",
        "compare": "`compare`, 1,500 cells",
        "annotate": "`annotate`, 10,000 cells, nothing given",
        "integrate": "`integrate`, 10,000 cells",
    }
    body = [
        [title, *(f"{result['seconds'][part][row]:.1f} s" for row in result["seconds"][part])]
        for part, title in titles.items()
        if part in result["seconds"]
    ]
    rows = next(iter(result["seconds"].values()))
    names = {"now": "now", "before": "the code before"}
    return {"waits": grid(["", *(names[row] for row in rows)], body)}


def scale(result: Result) -> dict[str, str]:
    tables, rows = {}, []
    for row in result.get("tokenise", ()):
        what = f"tokenise {row['cells']:,} cells, from {row['from'].lstrip('.')} into a store of "
        what += f"{row['store_gb']:.1f} GB"
        rows.append([f"{what} ({row['seconds']:.0f} s)", f"{row['cells_per_s']:,.0f}",
                     f"{row['peak_gb']:.2f} GB"])  # fmt: skip
    one = "a model of one layer"
    models = {"embed": one, "kill": one, "mini": "genemamba-mini"}
    runs = [(row, model) for part, model in models.items() for row in result.get(part, ())]
    for row, model in runs:
        if "kills" in row:
            continue
        what = f"embed {row['cells']:,} with {model}, imports and compiling included"
        if "million_hours" in row:
            what += f" (a million: {row['million_hours']:.2f} hours)"
        rows.append([what, f"{row['cells_per_s']:,.0f}", f"{row['peak_gb']:.2f} GB"])
    if rows:
        said = [
            f"{row['cells']:,} cells embedded with {model}, killed {row['kills']} times and "
            f"resumed: {'the same' if row['same'] else '**other**'} bytes as without."
            for row, model in runs
            if "kills" in row
        ]
        tables["scale"] = "\n\n".join([grid(["", "cells/s", "peak memory"], rows), *said])
    if "dask" in result:
        body = [
            [str(row["workers"]), f"{row['seconds']:.0f}", f"{row['cells_per_s']:.1f}",
             f"{row['largest_difference']:.1e}"]
            for row in result["dask"]
        ]  # fmt: skip
        head = ["dask workers", "seconds", "cells/s", "largest difference from one process"]
        tables["scale-dask"] = grid(head, body)
    return tables


def corpus(result: Result) -> dict[str, str]:
    built, medians = result["large"], result["medians"]
    rows = [
        ["seconds", f"{built['seconds']:.0f}"],
        ["cells read a second", f"{built['read_per_second']:,}"],
        ["cells stored a second", f"{built['stored_per_second']:,}"],
        ["cells stored", f"{built['cells']:,}"],
        ["tokens", f"{built['tokens']:,}"],
        ["peak memory", f"{built['peak_mb'] / 1000:.2f} GB"],
        [f"medians of {medians['cells']:,} cells, largest error", f"{medians['worst_percent']} %"],
        [f"medians of {medians['genes']:,} genes, mean error", f"{medians['mean_percent']} %"],
    ]
    return {"corpus": grid(["a corpus from a million cells", ""], rows)}


def length(result: Result) -> dict[str, str]:
    body = [
        [f"{row['tokens']:,}", f"{row['genemamba_seconds']:.2f} s",
         f"{row['genemamba_proportional']:.2f}", f"{row['transformer_seconds']:.2f} s",
         f"{row['transformer_proportional']:.2f}", f"{row['transformer_over_genemamba']:.2f}"]
        for row in result["rows"]
    ]  # fmt: skip
    head = ["tokens", "genemamba", "proportional", "transformer", "proportional", "ratio"]
    return {"length": grid(head, body)}


def pretrain(result: Result) -> dict[str, str]:
    rows = []
    for way in ("padded", "packed", "compiled"):
        speed = result.get(f"tokens_per_second_{way}")
        if speed is not None:
            real = result.get(f"real_share_{way}", result.get("real_share_packed"))
            rows.append([way, number(real), f"{speed:,}"])
    head = [f"views of {result['length']} genes", "share that is no padding", "tokens/s"]
    return {"pretrain": grid(head, rows)}


def table5(result: Result) -> dict[str, str]:
    body = [
        [str(row["layers"]), str(row["width"]), f"{row['parameters'] / 1e6:.2f}",
         f"{row['published']:.2f}", f"{row['before']:.3f}", f"{row['after']:.3f}"]
        for row in result["rows"]
    ]  # fmt: skip
    head = ["layers", "width", "weights (million)", "in the paper", "loss", "after one step"]
    return {"table5": grid(head, body)}
