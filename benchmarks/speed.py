"""How fast are tokenising and embedding, and how much memory do they take?

    python benchmarks speed --data ../shared/data

Each figure is the median of several warm runs in one process, end to end from AnnData: tokenising
includes judging the values and matching the genes, embedding includes tokenising and loading the
model. Beside tokenising stands a plain numpy loop (argsort of each cell's non-zero entries). Peak
memory is the process's maximum resident set, Python, torch and the data included. With `--former`
the CPU time of embedding is measured of both checkpoints, by turns.
The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import torch
from _data import within

import genemamba as gm
from genemamba._machine import processor
from genemamba.tokens import match


def timed(run: Callable[[], Any], runs: int) -> float:
    """Return the median seconds of warm runs."""
    run()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def numpy_loop(adata: ad.AnnData, median: np.ndarray) -> None:
    """Rank cell by cell, as tokenisers commonly do."""
    x = adata.X
    for cell in range(x.shape[0]):
        part = slice(x.indptr[cell], x.indptr[cell + 1])
        values = x.data[part] / x.data[part].sum() / median[x.indices[part]]
        x.indices[part][np.argsort(-values)]


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time both calls on one file."""
    adata = ad.read_h5ad(within(args.data, "bench") / f"{args.set}.h5ad")
    median = match(adata.var_names, gm.models.vocabulary(args.model)).median
    n = adata.n_obs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tokenise = timed(lambda: gm.pp.rank_tokenize(adata, model=args.model), 5)
    loop = timed(lambda: numpy_loop(adata, median), 3)
    embed = timed(lambda: gm.tl.embed(adata, model=args.model, precision=args.precision), args.runs)
    entry = adata.uns["genemamba"]["X_genemamba"]
    result = {
        "benchmark": "speed",
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "set": args.set,
        "model": args.model,
        "cells": n,
        "tokens_per_cell": round(entry["tokens_per_cell"], 1),
        "device": entry["device"],
        "precision": entry["precision"],
        "tokenise_cells_per_s": round(n / tokenise),
        "numpy_loop_cells_per_s": round(n / loop),
        "embed_seconds": round(embed, 2),
        "embed_cells_per_s": round(n / embed, 1),
        "embed_tokens_per_s": round(n * entry["tokens_per_cell"] / embed),
        "memory_before_mb": round(before / 1024),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    return result | (cpu_times(adata, args) if args.former else {})


def cpu_times(adata: ad.AnnData, args: argparse.Namespace) -> dict[str, float]:
    """Return the median CPU milliseconds of a cell of both checkpoints, by turns."""
    models = {"model": gm.models.load(args.model), "former": gm.models.load(args.former)}
    taken: dict[str, list[float]] = {row: [] for row in models}
    for turn in range(args.runs + 1):  # the first warms up
        for row, model in models.items():
            begun = time.process_time()
            gm.tl.embed(adata, model=model, precision=args.precision, copy=True)
            if turn:
                taken[row].append(time.process_time() - begun)
    return {
        f"{row}_cpu_ms_per_cell": round(1e3 * statistics.median(own) / adata.n_obs, 2)
        for row, own in taken.items()
    }


def main() -> None:
    """Measure, print a table, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the .h5ad files")
    parser.add_argument("--set", default="pbmc3k", help="name of the file")
    parser.add_argument("--model", default="genemamba-mini", help="name or folder of a checkpoint")
    parser.add_argument("--former", help="a second checkpoint: the former release")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--runs", type=int, default=5, help="runs of embed")
    result = measure(parser.parse_args())
    for name, value in result.items():
        print(f"{name:<24}{value}")
    print(f"\n{json.dumps(result)}")


if __name__ == "__main__":
    main()
