"""How well are cells named, how honest is the confidence, and who is called unknown?

    python benchmarks annotate --data ../shared/data

1. Types. Leave one donor (batch) out, else 5 folds stratified by type. Beside knn, probe and
   finetune of gm.tl.annotate stand logistic regression on expression (log1p of counts per 10,000
   of the training cells' 2,000 most variable genes, standardised, C = 0.1) and on its first 50
   principal components (C = 1), with the probabilities that they give. At most --max-cells of a
   set, --max-train and --max-test of a fold, drawn at random, the same for every row. Classes are
   those of the test fold. coverage is the share of test cells whose true type is in the 90 %
   prediction set, size the mean number of types in it. Means over folds, standard deviations for
   accuracy and macro-F1. No type is called unknown. --folds takes the first few folds of each set:
   fine-tuning one takes minutes.
2. Unknown. The reference is blood with one batch (donor) left out: the share of the cells left
   out, of fetal brain and of lung cancer lines that come back "unknown". Then, for each type: the
   share of its cells called unknown when it is taken from the reference.
3. Nothing given. gm.tl.annotate(adata) on sets of blood, types brought to the coarse level; a cell
   called unknown is wrong. Types that the head does not have (CD34+) are left out of macro-F1.

The last line printed is the same as JSON.
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
from _data import SETS, within
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import genemamba as gm
from genemamba.errors import GeneMambaWarning

TYPE_SETS = ("kang_ctrl_8donors", "pbmc_combined_4batch", "zheng_facs_pbmc")
BLOOD_SETS = ("pbmc_combined_4batch", "kang_ctrl_8donors")
OTHERS = ("fetal_telencephalon_2000", "sc_mixology_celseq2_dropseq")
OURS, BASELINES = ("knn", "probe", "finetune"), ("expression", "pca")
COVERAGE = 0.9
COARSE = {
    "T": ("CD4 T cell", "CD8 T cell", "Naive CD4 T", "Memory CD4 T", "CD8 T", "CD8+ Cytotoxic T",
          "CD4+ T Helper2", "CD4+/CD45RO+ Memory", "CD8+/CD45RA+ Naive Cytotoxic",
          "CD4+/CD25 T Reg", "CD4+/CD45RA+/CD25- Naive T"),
    "B": ("B cell", "B", "CD19+ B"),
    "NK": ("NK cell", "NK", "CD56+ NK"),
    "monocyte": ("CD14+ monocyte", "CD16+ monocyte", "CD14+ Mono", "FCGR3A+ Mono",
                 "CD14+ Monocyte"),
    "DC": ("dendritic cell", "plasmacytoid dendritic cell", "DC"),
    "megakaryocyte": ("megakaryocyte", "Platelet"),
}  # fmt: skip
TO_COARSE = {fine: coarse for coarse, fines in COARSE.items() for fine in fines}


def load(name: str, folder: Path, max_cells: int) -> ad.AnnData:
    """Read and embed a set, before it is split: a cell's vector depends on that cell alone."""
    file = within(folder, "bench") / f"{name}.h5ad"
    adata = SETS[name].load(folder) if name in SETS else ad.read_h5ad(file)
    adata = adata[_some(np.arange(adata.n_obs), max_cells, np.random.default_rng(0))].copy()
    gm.tl.embed(adata, precision="bfloat16")  # nearly the same vectors in half the time
    return adata[np.isfinite(adata.obsm["X_genemamba"]).all(axis=1)].copy()


def folds(adata: ad.AnnData, key: str | None, args: argparse.Namespace) -> Iterator[Any]:
    """Yield name of the fold, training and test cells."""
    y, rng = adata.obs["cell_type"].to_numpy(str), np.random.default_rng(0)
    if key is None:
        splits = StratifiedKFold(5, shuffle=True, random_state=0).split(y, y)
    else:
        splits = LeaveOneGroupOut().split(y, groups=adata.obs[key].to_numpy(str))
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
    key = SETS[name].batch_key
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


def unknown_share(reference: ad.AnnData, query: ad.AnnData, key: str | None) -> float:
    """Return the share of `query` called unknown: the same for all methods, knn fits quickest."""
    gm.tl.annotate(query, reference=reference, label_key="cell_type", batch_key=key, method="knn")
    return float((query.obs["genemamba_label"] == "unknown").mean())


def unknowns(name: str, adata: ad.AnnData, others: dict[str, ad.AnnData]) -> dict[str, Any]:
    """Leave each batch out of a blood reference, then each type."""
    key = SETS[name].batch_key
    groups, y = adata.obs[key].to_numpy(str), adata.obs["cell_type"].to_numpy(str)
    found: dict[str, Any] = {"held_out": {}, "others": {}, "types": {}}
    for group in np.unique(groups):
        reference = adata[groups != group].copy()
        held_out = adata[groups == group]
        held_out = held_out[held_out.obs["cell_type"].isin(reference.obs["cell_type"])].copy()
        found["held_out"][group] = unknown_share(reference, held_out, key)
        for other, cells in others.items():
            shares = found["others"].setdefault(other, {})
            shares[group] = unknown_share(reference, cells.copy(), key)
    for kind in np.unique(y):
        missing = adata[y == kind].copy()
        found["types"][kind] = unknown_share(adata[y != kind].copy(), missing, key)
    return found


def nothing_given(name: str, folder: Path) -> dict[str, Any]:
    """Annotate a set without labels, parameters or embedding, and time it."""
    adata = SETS[name].load(folder)
    start = time.perf_counter()
    gm.tl.annotate(adata)
    seconds = time.perf_counter() - start
    truth = adata.obs["cell_type"].astype(str).map(TO_COARSE)
    guess = adata.obs["genemamba_label"].astype(str).map(TO_COARSE).fillna("unknown")
    best = by_class(adata, "proba").idxmax(axis=1).map(TO_COARSE)
    ours = truth.notna()
    classes = sorted(truth[ours].unique())

    def f1(guesses: pd.Series, average: str | None) -> Any:
        return f1_score(truth[ours], guesses[ours], labels=classes, average=average)

    return {
        "cells": adata.n_obs,
        "seconds": seconds,
        "f1": f1(guess, "macro"),
        "f1_without_unknown": f1(best, "macro"),
        "by_type": dict(zip(classes, f1(guess, None).tolist(), strict=True)),
        "unknown": float((guess[ours] == "unknown").mean()),
        "unknown_of_other_types": (
            float((guess[~ours] == "unknown").mean()) if (~ours).any() else None
        ),
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
    for name, found in result["unknown"].items():
        print(f"\nunknown, reference {name}")
        print(pd.DataFrame({"held out": found["held_out"], **found["others"]}).round(3).to_string())
        print(pd.Series(found["types"], name="taken from the reference").round(3).to_string())
    print("\nnothing given")
    for name, found in result["nothing_given"].items():
        print(f"{name}: {rounded(found)}")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the .h5ad files")
    parser.add_argument("--rows", default=",".join((*OURS, *BASELINES)))
    parser.add_argument("--sets", default=",".join(TYPE_SETS))
    parser.add_argument("--parts", default="types,unknown,nothing_given")
    parser.add_argument("--folds", type=int, help="the first few of each set; else all")
    parser.add_argument("--max-cells", type=int, default=3000, help="cells of a set")
    parser.add_argument("--max-train", type=int, default=1500, help="training cells of a fold")
    parser.add_argument("--max-test", type=int, default=700, help="test cells of a fold")
    args = parser.parse_args()
    args.rows, args.sets, args.parts = (
        value.split(",") for value in (args.rows, args.sets, args.parts)
    )
    return args


def main() -> None:
    """Run the parts, print tables, then JSON."""
    args = parse_args()
    warnings.simplefilter("ignore", GeneMambaWarning)
    result: dict[str, Any] = {"benchmark": "annotate", "types": {}, "unknown": {}}
    result["size"] = {
        "cells_of_a_set": args.max_cells,
        "training_cells": args.max_train,
        "test_cells": args.max_test,
        "folds": args.folds or "all",
    }
    result["nothing_given"] = {
        name: nothing_given(name, args.data)
        for name in ("pbmc3k", "zheng_facs_pbmc")
        if "nothing_given" in args.parts
    }
    others = {n: load(n, args.data, args.max_cells) for n in OTHERS if "unknown" in args.parts}
    for name in args.sets if {"types", "unknown"} & set(args.parts) else ():
        adata = load(name, args.data, args.max_cells)
        if "types" in args.parts:
            result["types"][name] = types(name, adata, args)
        if "unknown" in args.parts and name in BLOOD_SETS:
            result["unknown"][name] = unknowns(name, adata, others)
    report(result)
    print("\n" + json.dumps(rounded(result)))


if __name__ == "__main__":
    main()
