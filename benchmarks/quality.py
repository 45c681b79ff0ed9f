"""How good is the frozen embedding? The model beside baselines, on sets it has not seen.

    python benchmarks quality --data ../shared/data

Rows: the model, the same architecture with random weights, PCA-50 of 2,000 highly variable
genes (HVG), and those genes themselves (log1p of counts per 10,000, HVG flavour "seurat", no
scaling; all genes where a set has fewer). HVG and PCA see every cell of a set, never a label.
`gm.metrics.compare` scores them all. `--former` adds a second checkpoint, the former release.

Columns. Splits: leave one batch (donor) out where these are known, else 5 folds stratified by
type; mean and standard deviation are over folds.
f1        macro-F1 of logistic regression (C = 1) on the standardised representation, the scaler
          fitted on the training cells. Classes are those of the test fold: one that is absent
          from the training cells scores 0 (they are listed above each table).
knn       accuracy of 15 nearest neighbours, Euclidean, unscaled.
avg_bio   mean of ARI, NMI (both at the Leiden resolution that fits the labels best) and
          ASW_cell, on all cells.
avg_batch mean of scIB's ASW_batch (within types) and graph connectivity; bras and ilisi beside
          it, because batch silhouettes mislead where batches are nested.
scgraph   do types lie as far from each other as in each batch (`_scgraph.py`); a set without
          batches is one batch.
The summary says where the model is at or above PCA-50. The last line printed is the same as JSON.
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
from _data import SETS
from _scgraph import scgraph
from _tables import quality as tables

import genemamba as gm
from genemamba.compare.baselines import make_baselines
from genemamba.compare.scoreboard import TITLES

MODELS = ("model", "former")
ROWS = {name: TITLES.get(name, "former release") for name in (*MODELS, "random", "pca", "hvg")}
COLUMNS = {
    "macro_f1": "f1",
    "macro_f1_sd": "f1_sd",
    "knn_accuracy": "knn",
    "knn_accuracy_sd": "knn_sd",
}
PARTS = ("avg_bio", "asw_label", "ari", "nmi", "resolution")
PARTS += (
    "avg_batch",
    "asw_batch_within",
    "asw_batch_overall",
    "graph_connectivity",
    "bras",
    "ilisi",
)


def run_set(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Score every representation of one set on the same cells and folds."""
    start = time.perf_counter()
    adata, key = SETS[name].load(args.data, args.max_cells), SETS[name].batch_key
    for row in [row for row in MODELS if row in args.rows]:
        gm.tl.embed(adata, model=getattr(args, row), key_added=f"X_{row}")
    add_baselines(adata, [row for row in args.rows if row not in MODELS], args.model)
    reps = {f"X_{row}": row for row in args.rows}
    table = gm.metrics.compare(
        adata,
        "cell_type",
        batch_key=key,
        use_rep=list(reps),
        baselines=[],
        components=True,
        verbose=False,
    )
    rows = table.rename(columns=COLUMNS)
    rows = rows[[c for c in (*COLUMNS.values(), *PARTS) if c in rows]].astype(float)
    read = [np.isfinite(adata.obsm[rep]).all(axis=1) for rep in reps]
    cells = adata[np.all(read, axis=0)].copy()
    rows["scgraph"] = pd.Series(scgraph(cells, {rep: cells.obsm[rep] for rep in reps}, key))
    rows = rows.rename(index=reps).round(4)
    made = adata.uns["genemamba"]["X_model"]
    return {
        **{key: table.attrs[key] for key in ("cells", "cells_without_embedding")},
        "genes": adata.n_vars,
        **{key: table.attrs[key] for key in ("types", "split", "folds", "unseen")},
        **{key: made[key] for key in ("genes_known", "counts_lost")},
        "rows": {row: rows.loc[row].dropna().to_dict() for row in args.rows},
        "seconds": round(time.perf_counter() - start, 1),
    }


def add_baselines(adata: ad.AnnData, rows: list[str], model: str) -> None:
    """Write random weights, PCA and HVG into `obsm`, under the names of their rows."""
    made = make_baselines(
        adata, rows, batch=None, use_rep=["X_model"], model=model, layer=None, seed=0
    )
    for row in rows:
        adata.obsm[f"X_{row}"] = made[TITLES[row]]


def report(name: str, result: dict[str, Any], model: str) -> None:
    """Print one set as a table."""
    print(
        f"\n{name}: {result['cells']:,} cells x {result['genes']:,} genes, {result['types']} types,"
        f" {result['split']} ({result['folds']} folds), {result['seconds']:.0f} s"
    )
    lost = f"{result['counts_lost']:.1%} of counts lost"
    print(f"  the model knows {result['genes_known']:,} of the genes, {lost}")
    if result["cells_without_embedding"]:
        print(f"  {result['cells_without_embedding']} cells without embedding left out of all rows")
    for held_out, classes in result["unseen"].items():
        print(f"  {held_out} held out: no training cell of {', '.join(classes)}")
    table = pd.DataFrame(result["rows"]).T
    for key in ("f1", "knn"):
        spread = table.pop(f"{key}_sd").map("{:.3f}".format)
        table[key] = table[key].map("{:.3f}".format) + " ± " + spread
    columns = ["f1", "knn", "avg_bio", "ari", "nmi", "asw_label"]
    columns += ["avg_batch", "asw_batch_within", "graph_connectivity", "bras", "ilisi", "scgraph"]
    shown = table.rename(index=ROWS | {"model": model})[[c for c in columns if c in table]]
    print(shown.to_string(float_format="{:.3f}".format), flush=True)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the .h5ad files")
    parser.add_argument("--sets", default=",".join(SETS), help="names, comma-separated")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"some of {','.join(ROWS)}")
    parser.add_argument("--model", default="genemamba-mini", help="name or folder of a checkpoint")
    parser.add_argument("--former", help="a second checkpoint: the former release")
    parser.add_argument("--max-cells", type=int, help="score a random part of each set")
    args = parser.parse_args()
    args.sets, args.rows = args.sets.split(","), args.rows.split(",")
    if not args.former:
        args.rows = [row for row in args.rows if row != "former"]
    for given, known in ((args.sets, SETS), (args.rows, ROWS)):
        if unknown := set(given) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(known)}")
    return args


def main() -> None:
    """Score every set, print tables, then JSON."""
    args = parse_args()
    start = time.perf_counter()
    results = {}
    for name in args.sets:
        results[name] = run_set(name, args)
        report(name, results[name], args.model)
    total = round(time.perf_counter() - start, 1)
    summary = {"benchmark": "quality", "model": args.model, "seconds": total, "sets": results}
    print(tables(summary)["quality-summary"] + "\n\n" + json.dumps(summary))


if __name__ == "__main__":
    main()
