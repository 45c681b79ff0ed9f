"""How good is the frozen embedding? The model beside baselines, on sets it has not seen.

    python benchmarks/quality.py --data ../shared/data/bench

Rows: the model, the same architecture with random weights, PCA-50 of 2,000 highly variable
genes (HVG), and those genes themselves (log1p of counts per 10,000, HVG flavour "seurat", no
scaling; all genes where a set has fewer). HVG and PCA see every cell of a set, never a label.

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
import scanpy as sc
from _data import SETS
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from genemamba import metrics

ROWS = ("model", "random", "pca", "hvg")
N_HVG, N_PCS, N_FOLDS, N_NEIGHBORS = 2000, 50, 5, 15
Folds = list[tuple[np.ndarray, np.ndarray]]


def baselines(adata: ad.AnnData) -> dict[str, np.ndarray]:
    """Return log-normalised HVG and their principal components, fitted without labels."""
    work = ad.AnnData(adata.X.astype(np.float32))
    sc.pp.normalize_total(work, target_sum=1e4)
    sc.pp.log1p(work)
    if work.n_vars > N_HVG:
        sc.pp.highly_variable_genes(work, flavor="seurat", n_top_genes=N_HVG, subset=True)
    sc.pp.pca(work, n_comps=N_PCS, mask_var=None, random_state=0)
    return {"pca": np.ascontiguousarray(work.obsm["X_pca"]), "hvg": work.X.toarray()}


def embed(adata: ad.AnnData, row: str, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the embedding by the trained or the randomly re-initialised model, and its record."""
    import genemamba as gm

    model = gm.models.load(name)
    if row == "random":
        model.reset_parameters(seed=0)
    gm.tl.embed(adata, model=model, key_added=f"X_{row}")
    return adata.obsm[f"X_{row}"], adata.uns["genemamba"].get(f"X_{row}", {})


def make_folds(labels: np.ndarray, batch: np.ndarray | None) -> Folds:
    """Leave one batch out where batches are known, else stratify by type."""
    if batch is not None:
        return list(LeaveOneGroupOut().split(labels, groups=batch))
    splitter = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    return list(splitter.split(labels, labels))


def unseen_classes(
    labels: np.ndarray, batch: np.ndarray | None, folds: Folds
) -> dict[str, list[str]]:
    """Return, by held-out batch, the classes that no training cell shows."""
    if batch is None:
        return {}
    unseen = {
        str(batch[test[0]]): np.setdiff1d(labels[test], labels[train]).tolist()
        for train, test in folds
    }
    return {held_out: classes for held_out, classes in unseen.items() if classes}


def score_folds(X: np.ndarray, labels: np.ndarray, folds: Folds) -> pd.DataFrame:
    """Return macro-F1 of logistic regression and accuracy of neighbours, one row a fold."""
    scores = []
    for train, test in folds:
        linear = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
        with threadpool_limits(1):  # its products are small: threads only wait for each other
            linear.fit(X[train], labels[train])
        guess, classes = linear.predict(X[test]), np.unique(labels[test])
        f1 = f1_score(labels[test], guess, labels=classes, average="macro", zero_division=0)
        neighbors = KNeighborsClassifier(N_NEIGHBORS).fit(X[train], labels[train])
        scores.append({"f1": f1, "knn": neighbors.score(X[test], labels[test])})
    return pd.DataFrame(scores)


def score(
    X: np.ndarray, labels: np.ndarray, batch: np.ndarray | None, folds: Folds
) -> dict[str, float]:
    """Return every column of one row."""
    table = score_folds(X, labels, folds)
    row = {
        "f1": table["f1"].mean(),
        "f1_sd": table["f1"].std(),
        "knn": table["knn"].mean(),
        "knn_sd": table["knn"].std(),
        **metrics.avg_bio(X, labels, components=True),
    }
    if batch is not None:
        row |= metrics.avg_batch(X, batch, labels, components=True)
        row |= {"bras": metrics.bras(X, batch, labels), "ilisi": metrics.ilisi(X, batch)}
    return {key: round(float(value), 4) for key, value in row.items()}


def run_set(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Score every representation of one set on the same cells and folds."""
    start = time.perf_counter()
    adata = SETS[name].load(args.data, args.max_cells)
    spaces: dict[str, np.ndarray] = {}
    record: dict[str, Any] = {}
    for row in [r for r in ("model", "random") if r in args.rows]:
        spaces[row], record = embed(adata, row, args.model)
    if {"pca", "hvg"} & set(args.rows):
        spaces |= baselines(adata)
    # A cell without a known gene has no embedding: no row is scored on it.
    keep = np.all([np.isfinite(X).all(axis=1) for X in spaces.values()], axis=0)
    labels = adata.obs["cell_type"].to_numpy(str)[keep]
    key = SETS[name].batch_key
    batch = adata.obs[key].to_numpy(str)[keep] if key else None
    folds = make_folds(labels, batch)
    result = {
        "cells": int(keep.sum()),
        "cells_without_embedding": int((~keep).sum()),
        "genes": adata.n_vars,
        "types": len(np.unique(labels)),
        "split": f"leave one {key} out" if key else f"{N_FOLDS}-fold stratified",
        "folds": len(folds),
        "unseen": unseen_classes(labels, batch, folds),
        "genes_known": record.get("genes_known"),
        "counts_lost": record.get("counts_lost"),
        "rows": {r: score(spaces[r][keep], labels, batch, folds) for r in ROWS if r in args.rows},
    }
    return result | {"seconds": round(time.perf_counter() - start, 1)}


def report(name: str, result: dict[str, Any], model: str) -> None:
    """Print one set as a table."""
    print(
        f"\n{name}: {result['cells']:,} cells x {result['genes']:,} genes, {result['types']} types,"
        f" {result['split']} ({result['folds']} folds), {result['seconds']:.0f} s"
    )
    if result["genes_known"] is not None:
        lost = (
            "" if result["counts_lost"] is None else f", {result['counts_lost']:.1%} of counts lost"
        )
        print(f"  the model knows {result['genes_known']:,} of the genes{lost}")
    if result["cells_without_embedding"]:
        print(f"  {result['cells_without_embedding']} cells without embedding left out of all rows")
    for held_out, classes in result["unseen"].items():
        print(f"  {held_out} held out: no training cell of {', '.join(classes)}")
    table = pd.DataFrame(result["rows"]).T
    for key in ("f1", "knn"):
        spread = table.pop(f"{key}_sd").map("{:.3f}".format)
        table[key] = table[key].map("{:.3f}".format) + " ± " + spread
    names = {"model": model, "random": "random weights", "pca": "PCA-50", "hvg": "HVG"}
    columns = ["f1", "knn", "avg_bio", "ari", "nmi", "asw_label"]
    columns += ["avg_batch", "asw_batch_within", "graph_connectivity", "bras", "ilisi"]
    shown = table.rename(index=names)[[c for c in columns if c in table]]
    print(shown.to_string(float_format="{:.3f}".format), flush=True)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the .h5ad files")
    parser.add_argument("--sets", default=",".join(SETS), help="names, comma-separated")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"some of {','.join(ROWS)}")
    parser.add_argument("--model", default="genemamba-mini", help="name or folder of a checkpoint")
    parser.add_argument("--max-cells", type=int, help="score a random part of each set")
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    args = parser.parse_args()
    args.sets, args.rows = args.sets.split(","), args.rows.split(",")
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
    line = json.dumps(summary)
    if args.out:
        args.out.write_text(line + "\n")
    print(f"\n{line}")


if __name__ == "__main__":
    main()
