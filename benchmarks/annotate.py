"""How well are cells named from labelled ones, and how honest is the confidence?

    python benchmarks annotate --data ../shared/data

Leave one donor (batch, technology) out, groups of donors where there are many, else 5 folds
stratified by type. Beside auto, probe, knn and finetune of gm.tl.annotate stand logistic regression
on expression (log1p of counts per 10,000 of the training cells' 2,000 most variable genes,
standardised, C = 0.1) and on its first 50 principal components (C = 1), with the probabilities that
they give. At most --max-cells of a set, --max-train and --max-test of a fold, drawn at random, the
same for every row. Classes are those of the test fold. coverage is the share of test cells whose
true type is in the 90 % prediction set, size the mean number of types in it. Means over folds,
standard deviations for accuracy and macro-F1. No type is called unknown: see `unknown`, and `terms`
for labels without a reference. --folds takes the first few folds of each set: fine-tuning one takes
minutes. The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from _data import SETS
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import genemamba as gm
from genemamba.errors import GeneMambaWarning

OURS, BASELINES = ("auto", "knn", "probe", "finetune"), ("expression", "pca")
COVERAGE = 0.9
GROUPS = {  # what is held out, where quality.py has no batches
    "pancreas_panc8_small": "tech",
    "onek1k_sub_scdesignpop": "donor",
    "fetal_telencephalon_2000": "sample",
}
MOST_GROUPS = 8  # left out one by one; more are left out in five parts


def load(name: str, folder: Path, max_cells: int) -> ad.AnnData:
    """Read and embed a set, before it is split: a cell's vector depends on that cell alone."""
    adata = SETS[name].load(folder, max_cells)
    gm.tl.embed(adata, precision="bfloat16")  # nearly the same vectors in half the time
    return adata[np.isfinite(adata.obsm["X_genemamba"]).all(axis=1)].copy()


def folds(adata: ad.AnnData, key: str | None, args: argparse.Namespace) -> Iterator[Any]:
    """Yield name of the fold, training and test cells."""
    y, rng = adata.obs["cell_type"].to_numpy(str), np.random.default_rng(0)
    groups = None if key is None else adata.obs[key].to_numpy(str)
    if groups is None:
        splits = StratifiedKFold(5, shuffle=True, random_state=0).split(y, y)
    elif len(np.unique(groups)) > MOST_GROUPS:
        splits = GroupKFold(5).split(y, groups=groups)
    else:
        splits = LeaveOneGroupOut().split(y, groups=groups)
    for i, (train, test) in enumerate(islice(splits, args.folds)):
        name = str(adata.obs[key].iloc[test[0]]) if key else str(i)
        yield name, _some(train, args.max_train, rng), _some(test, args.max_test, rng)


def _some(cells: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.choice(cells, n, replace=False)) if n < len(cells) else cells


def baseline(train: ad.AnnData, test: ad.AnnData, name: str) -> pd.DataFrame:
    """Return probabilities by logistic regression on expression or its principal components."""
    parts = []
    for adata in (train, test):
        part = ad.AnnData(adata.X.astype(np.float32))
        sc.pp.normalize_total(part, target_sum=1e4)
        sc.pp.log1p(part)
        parts.append(part)
    if train.n_vars > 2000:
        sc.pp.highly_variable_genes(parts[0], flavor="seurat", n_top_genes=2000)
        parts = [part[:, parts[0].var["highly_variable"]] for part in parts]
    X, Q = (part.X.toarray() for part in parts)
    if name == "pca":
        steps = (PCA(50, random_state=0), StandardScaler(), LogisticRegression(max_iter=500))
    else:
        steps = (StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    with threadpool_limits(1):
        fitted = make_pipeline(*steps).fit(X, train.obs["cell_type"].to_numpy(str))
        return pd.DataFrame(fitted.predict_proba(Q), index=test.obs_names, columns=fitted.classes_)


def by_class(adata: ad.AnnData, what: str) -> pd.DataFrame:
    """Return probabilities or sets with the classes as columns."""
    classes = adata.uns["genemamba"]["annotate"]["classes"]
    return pd.DataFrame(adata.obsm[f"genemamba_{what}"], adata.obs_names, classes)


def score(truth: np.ndarray, proba: pd.DataFrame, sets: pd.DataFrame | None) -> dict[str, float]:
    """Return the columns of one row and fold."""
    guess = proba.columns.to_numpy(str)[proba.to_numpy().argmax(axis=1)]
    row = {
        "accuracy": (guess == truth).mean(),
        "f1": f1_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0),
        "balanced": _balanced(truth, guess),
        "ece": gm.metrics.expected_calibration_error(proba.max(axis=1), guess == truth),
    }
    if sets is not None:
        held = pd.DataFrame(0, index=sets.index, columns=np.unique(truth)) | sets
        row |= {
            "coverage": np.mean([held.at[c, t] for c, t in zip(sets.index, truth, strict=True)]),
            "size": sets.sum(axis=1).mean(),
        }
    return {key: float(value) for key, value in row.items()}


def _balanced(truth: np.ndarray, guess: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a guess outside the fold's types is simply wrong
        return balanced_accuracy_score(truth, guess)


def types(name: str, adata: ad.AnnData, args: argparse.Namespace) -> dict[str, Any]:
    """Score every method on every fold of one set."""
    key = GROUPS.get(name, SETS[name].batch_key)
    rows: dict[str, list[dict[str, float]]] = {}
    for fold, train, test in folds(adata, key, args):
        reference, query = adata[train].copy(), adata[test].copy()
        truth = query.obs["cell_type"].to_numpy(str)
        for row in [r for r in (*OURS, *BASELINES) if r in args.rows]:
            start = time.perf_counter()
            if row in BASELINES:
                proba, sets = baseline(reference, query, row), None
            else:
                gm.tl.annotate(
                    query, reference=reference, label_key="cell_type", method=row, batch_key=key,
                    unknown=False, coverage=COVERAGE,
                )  # fmt: skip
                proba, sets = (by_class(query, name) for name in ("proba", "sets"))
            seconds = time.perf_counter() - start
            rows.setdefault(row, []).append(score(truth, proba, sets) | {"seconds": seconds})
            print(f"  {name} {fold} {row}: {rows[row][-1]}", flush=True)
    tables = {row: pd.DataFrame(found) for row, found in rows.items()}
    return {
        row: {**table.mean(), "accuracy_sd": table["accuracy"].std(), "f1_sd": table["f1"].std()}
        for row, table in tables.items()
    }


def rounded(value: Any) -> Any:
    """Round every number of a nest of dicts."""
    if isinstance(value, dict):
        return {str(k): rounded(v) for k, v in value.items()}
    return round(float(value), 4) if isinstance(value, float) else value


def report(result: dict[str, Any]) -> None:
    """Print tables."""
    for name, rows in result["types"].items():
        print(f"\n{name}\n{pd.DataFrame(rows).T.round(3).to_string()}")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the .h5ad files")
    parser.add_argument("--rows", default=",".join((*OURS, *BASELINES)))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--folds", type=int, help="the first few of each set; else all")
    parser.add_argument("--max-cells", type=int, default=3000, help="cells of a set")
    parser.add_argument("--max-train", type=int, default=1500, help="training cells of a fold")
    parser.add_argument("--max-test", type=int, default=700, help="test cells of a fold")
    args = parser.parse_args()
    args.rows, args.sets = args.rows.split(","), args.sets.split(",")
    return args


def main() -> None:
    """Run the parts, print tables, then JSON."""
    args = parse_args()
    warnings.simplefilter("ignore", GeneMambaWarning)
    result: dict[str, Any] = {"benchmark": "annotate", "types": {}}
    result["size"] = {
        "cells_of_a_set": args.max_cells,
        "training_cells": args.max_train,
        "test_cells": args.max_test,
        "folds": args.folds or "all",
    }
    for name in args.sets:
        result["types"][name] = types(name, load(name, args.data, args.max_cells), args)
    report(result)
    print("\n" + json.dumps(rounded(result)))


if __name__ == "__main__":
    main()
