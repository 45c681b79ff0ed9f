"""Do batches mix and types stay apart? ``gm.tl.integrate`` beside PCA and Harmony.

    python benchmarks integrate --data ../shared/data

Without labels, all cells: PCA-50 of 2,000 highly variable genes (as in quality.py), Harmony on it
(harmonypy, its defaults), the frozen embedding of ``gm.tl.embed``, and
``gm.tl.integrate(adata, batch_key)``. No setting of any of them was chosen on these sets.

Tuned on labels, in a table of its own: ``gm.tl.integrate(adata, batch_key, label_key=…)`` sees the
labels of a random half of the cells (stratified by type and batch) and is scored on the others
only; the unlabelled rows are repeated on these same cells. Mean ± standard deviation over three
halves.

avg_bio   mean of ARI, NMI (both at the Leiden resolution that fits the labels best) and ASW_cell
avg_batch mean of scIB's ASW_batch (within types) and graph connectivity; bras and ilisi beside it,
          because batch silhouettes mislead where batches are nested
seconds   of integrate or Harmony, given the embedding or the PCA
The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from _data import SETS, BenchSet

import genemamba as gm
from genemamba import metrics
from genemamba.compare.baselines import harmony, make_baselines
from genemamba.compare.scoreboard import TITLES

BATCHED = {
    name: SETS.get(name, BenchSet(name, batch_key="condition"))
    for name in ("pbmc_combined_4batch", "sc_mixology_celseq2_dropseq", "kang_merged_9015g")
}
ROWS = {
    "pca": "PCA-50",
    "harmony": "Harmony",
    "frozen": "{model}, zero-shot",
    "integrated": "{model}, integrated",
    "tuned": "{model}, label-tuned",
}
COLUMNS = ["avg_bio", "ari", "nmi", "asw_label", "avg_batch", "asw_batch_within"]
COLUMNS += ["graph_connectivity", "bras", "ilisi"]
N_HALVES = 3


def score(X: np.ndarray, batch: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return every column of one row."""
    row = metrics.avg_bio(X, labels, components=True)
    row |= metrics.avg_batch(X, batch, labels, components=True)
    row |= {"bras": metrics.bras(X, batch, labels), "ilisi": metrics.ilisi(X, batch)}
    return {key: round(float(row[key]), 4) for key in COLUMNS}


def half(batch: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Draw every second cell of each type and batch, at random: True where it is held out."""
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(batch), dtype=bool)
    for cells in pd.DataFrame({"b": batch, "l": labels}).groupby(["b", "l"]).indices.values():
        held_out[rng.permutation(cells)[: len(cells) // 2]] = True
    return held_out


def tuned_scores(
    adata: ad.AnnData, spaces: dict[str, np.ndarray], args: argparse.Namespace, batch_key: str
) -> dict[str, dict[str, float]]:
    """Return mean and deviation of every row on the cells that the tuning did not see."""
    batch, labels = adata.obs[batch_key].to_numpy(str), adata.obs["cell_type"].to_numpy(str)
    rows: dict[str, list[dict[str, float]]] = {row: [] for row in (*spaces, "tuned")}
    for seed in range(N_HALVES):
        held_out = half(batch, labels, seed)
        adata.obs["seen"] = pd.Series(labels, index=adata.obs_names).mask(held_out)
        gm.tl.integrate(
            adata, batch_key, label_key="seen", model=args.model, key_added="X_tuned", rng=seed
        )
        for row, X in {**spaces, "tuned": adata.obsm["X_tuned"]}.items():
            rows[row].append(score(X[held_out], batch[held_out], labels[held_out]))
    return {
        row: {
            **{k: round(float(np.mean([s[k] for s in scores])), 4) for k in COLUMNS},
            **{f"{k}_sd": round(float(np.std([s[k] for s in scores], ddof=1)), 4) for k in COLUMNS},
        }
        for row, scores in rows.items()
    }


def run_set(bench: BenchSet, args: argparse.Namespace) -> dict[str, Any]:
    """Score every representation of one set on the same cells."""
    adata = bench.load(args.data, args.max_cells)
    key = bench.batch_key or ""
    adata.obs[key] = adata.obs[key].astype(str)
    seconds, start = {}, time.perf_counter()
    gm.tl.embed(adata, model=args.model)
    seconds["frozen"] = time.perf_counter() - start
    kept = np.isfinite(adata.obsm["X_genemamba"]).all(axis=1)
    without, adata = int((~kept).sum()), adata[kept].copy()
    batch, labels = adata.obs[key].to_numpy(str), adata.obs["cell_type"].to_numpy(str)
    made = make_baselines(adata, ["pca"], batch=None, use_rep=[], model=None, layer=None, seed=0)
    spaces = {"pca": made[TITLES["pca"]]}
    start = time.perf_counter()
    spaces["harmony"] = harmony(spaces["pca"], batch, seed=0)
    seconds["harmony"] = time.perf_counter() - start
    start = time.perf_counter()
    gm.tl.integrate(adata, key, model=args.model)
    seconds["integrated"] = time.perf_counter() - start
    spaces["frozen"] = adata.obsm["X_genemamba"]
    spaces["integrated"] = adata.obsm["X_genemamba_integrated"]
    result = {
        "cells": adata.n_obs,
        "cells_without_embedding": without,
        "types": len(np.unique(labels)),
        "batch_key": key,
        "batches": len(np.unique(batch)),
        "dimensions": adata.uns["genemamba"]["X_genemamba_integrated"]["dimensions"],
        "rows": {row: score(X, batch, labels) for row, X in spaces.items()},
        "held_out": tuned_scores(adata, spaces, args, key),
    }
    return result | {"seconds": {row: round(s, 1) for row, s in seconds.items()}}


def report(name: str, result: dict[str, Any], model: str) -> None:
    """Print one set as two tables."""
    took = ", ".join(f"{row} {s:.0f} s" for row, s in result["seconds"].items())
    print(
        f"\n{name}: {result['cells']:,} cells, {result['types']} types, {result['batches']} batches"
        f" ({result['batch_key']}); {took}"
    )
    for title, rows in (
        ("no labels, all cells", result["rows"]),
        (f"cells held out of the tuning, {N_HALVES} halves", result["held_out"]),
    ):
        table = pd.DataFrame(rows).T
        shown = table[COLUMNS].map("{:.3f}".format)
        for column in COLUMNS:
            if f"{column}_sd" in table:
                shown[column] += " ± " + table[f"{column}_sd"].map("{:.3f}".format)
        shown.index = [ROWS[row].format(model=model) for row in rows]
        print(f"  {title}\n{shown.to_string()}", flush=True)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the .h5ad files")
    parser.add_argument("--sets", default=",".join(BATCHED), help="names, comma-separated")
    parser.add_argument("--model", default="genemamba-mini", help="name or folder of a checkpoint")
    parser.add_argument("--max-cells", type=int, help="score a random part of each set")
    args = parser.parse_args()
    args.sets = args.sets.split(",")
    if unknown := set(args.sets) - set(BATCHED):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(BATCHED)}")
    return args


def main() -> None:
    """Score every set, print tables, then JSON."""
    args = parse_args()
    start = time.perf_counter()
    results = {}
    for name in args.sets:
        results[name] = run_set(BATCHED[name], args)
        report(name, results[name], args.model)
    total = round(time.perf_counter() - start, 1)
    summary = {"benchmark": "integrate", "model": args.model, "seconds": total, "sets": results}
    print("\n" + json.dumps(summary))


if __name__ == "__main__":
    main()
