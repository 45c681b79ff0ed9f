"""Are mouse cells read as well as human cells, through human orthologues?

    python benchmarks mouse --data ../shared/data

Counts: the fraction of a set's counts in genes with an orthologue (by current id or symbol, with
former symbols, and among them in genes of the model), and of counts used per cell.

Rows: the model, genes recognised by `organism="auto"`; the same with genes renamed by hand, current
symbols to human symbols by the shared table, others left out; PCA-50 of all mouse genes. Columns
and folds are those of `quality`.

Lineages: mouse lung (B, T, NK cells, neutrophils) named by classifiers of human cells: that of the
checkpoint, at its default level, at the finest, and at the four types, and those fitted on sets of
human blood. Labels are judged as lineages. Neutrophils count as right if they are named as any
myeloid leukocyte, because the blood sets have no neutrophils. "unknown" and terms above the
lineages count as errors. The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from _data import SETS
from _tables import mouse as tables
from sklearn.metrics import f1_score

import genemamba as gm
from genemamba.compare.baselines import make_baselines
from genemamba.compare.scoreboard import TITLES
from genemamba.ontology import Ontology
from genemamba.tokens.orthologues import Orthologues

MOUSE = ("lung_zilionis_mouse", "stomach_intestine_mca", "bone_marrow_stroma_matsushita",
         "intestine_raceid_unlabelled")  # fmt: skip
REPS = {"X_model": "model", "X_renamed": "renamed", "X_pca50": "pca"}
LINEAGES = {"B cells": "B", "T cells": "T", "NK cells": "NK", "Neutrophils": "myeloid"}
TERMS = {"B": "lymphocyte of B lineage", "T": "T cell", "NK": "natural killer cell",
         "myeloid": "myeloid cell"}  # fmt: skip
EXPECTED = ["B cell", "T cell", "natural killer cell", "neutrophil"]
BLOOD = {  # labels of the human sets that are no names of the Cell Ontology
    "pbmc3k": {
        "B": "B", "CD14+ Mono": "myeloid", "FCGR3A+ Mono": "myeloid", "DC": "myeloid", "NK": "NK",
        "Memory CD4 T": "T", "Naive CD4 T": "T", "CD8 T": "T",
    },
    "pbmc_combined_4batch": {
        "B": "B", "CD14+ Mono": "myeloid", "FCGR3A+ Mono": "myeloid", "DC": "myeloid", "NK": "NK",
        "CD4 T": "T", "CD8 T": "T",
    },
}  # fmt: skip


def read(data: Path, name: str, max_cells: int) -> ad.AnnData:
    """Read mouse cells, at most so many of them."""
    adata = ad.read_h5ad(data / "mouse" / f"{name}.h5ad")
    some = np.random.default_rng(0).permutation(adata.n_obs)[:max_cells]
    return adata[np.sort(some)].copy()


def counted(adata: ad.AnnData) -> dict[str, float]:
    """Return which part of the counts is in genes with an orthologue."""
    share = np.asarray(adata.X.sum(axis=0), dtype=float).ravel()
    share /= share.sum()
    gene, how = Orthologues.load("mouse").human(adata.var_names.tolist())
    known = np.isin(gene, gm.models.vocabulary("genemamba-mini").ensembl_id)
    return {
        "current": round(float(share[np.isin(how, ["id", "symbol"])].sum()), 4),
        "mapped": round(float(share[gene != ""].sum()), 4),
        "read": round(float(share[known].sum()), 4),
    }


def renamed(adata: ad.AnnData, data: Path) -> ad.AnnData:
    """Give genes their human symbols, as by hand; leave out those without."""
    pairs = pd.read_csv(data / "tables" / "orthologs_mouse.csv.gz", keep_default_na=False)
    human = adata.var_names.map(
        dict(zip(pairs["mouse_symbol"], pairs["human_symbol"], strict=True))
    )
    made = adata[:, human.notna()].copy()
    made.var_names = human[human.notna()].astype(str)
    return made


def run_set(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Score the embedding of one set beside the others."""
    start = time.perf_counter()
    adata = read(args.data, name, args.max_cells)
    found: dict[str, Any] = {"cells": adata.n_obs, "genes": adata.n_vars, **counted(adata)}
    if "cell_type" not in adata.obs:
        return found
    gm.tl.embed(adata, model=args.model, key_added="X_model")
    by_hand = renamed(adata, args.data)
    gm.tl.embed(by_hand, model=args.model, organism="human", key_added="X_renamed")
    adata.obsm["X_renamed"] = by_hand.obsm["X_renamed"]
    how: Any = {"batch": None, "use_rep": ["X_model"], "model": args.model, "layer": None}
    adata.obsm["X_pca50"] = make_baselines(adata, ["pca"], seed=0, **how)[TITLES["pca"]]
    table = gm.metrics.compare(
        adata, "cell_type", use_rep=list(REPS), baselines=[], components=True, verbose=False
    )
    columns = {"macro_f1": "f1", "macro_f1_sd": "f1_sd", "avg_bio": "avg_bio", "ari": "ari",
               "nmi": "nmi", "asw_label": "asw_label"}  # fmt: skip
    rows = table.rename(columns=columns, index=REPS)[list(columns.values())].astype(float).round(4)
    made = adata.uns["genemamba"]["X_model"]
    return {
        **found,
        "types": table.attrs["types"],
        "folds": table.attrs["folds"],
        "counts_used": round(1 - made["counts_lost"], 4),
        **{
            name: round(made["organism"][name], 4)
            for name in ("counts_without_orthologue", "counts_one_to_many")
        },
        "rows": {row: rows.loc[row].to_dict() for row in REPS.values()},
        "seconds": round(time.perf_counter() - start, 1),
    }


def lineage(label: str, also: dict[str, str]) -> str:
    """Return the lineage of a label, "none" if it is unknown or above the lineages."""
    if label in also:
        return also[label]
    ontology = Ontology.load()
    term = ontology.find(label)
    for name, root in TERMS.items():
        above = ontology.find(root)
        if term and above and (term == above or ontology.is_ancestor(above, term)):
            return name
    return "none"


def run_lineages(args: argparse.Namespace) -> dict[str, Any]:
    """Name the cells of the mouse lung by human cells."""
    lung = read(args.data, MOUSE[0], args.max_cells)
    truth = lung.obs["cell_type"].astype(str).map(LINEAGES)
    gm.tl.embed(lung, model=args.model)
    ways: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
        "checkpoint": ({}, {}),
        "checkpoint, level='fine'": ({"level": "fine"}, {}),
        "checkpoint, level of the four types": ({"level": EXPECTED, "unknown": False}, {}),
    }
    for name, labels in BLOOD.items():
        human = SETS[name].load(args.data, args.max_reference)
        given = {"reference": human, "label_key": "cell_type", "unknown": False}
        ways[name] = (given, labels)
    rows = {}
    for name, (given, labels) in ways.items():
        gm.tl.annotate(lung, model=args.model, **given)
        said = lung.obs["genemamba_label"].astype(str)
        found = said.map({label: lineage(label, labels) for label in said.unique()})
        each = f1_score(truth, found, labels=list(TERMS), average=None, zero_division=0)
        rows[name] = {
            "f1": round(float(each.mean()), 4),
            **dict(zip(TERMS, each.round(4).tolist(), strict=True)),
            "none": round(float((found == "none").mean()), 4),
        }
        print(name, rows[name], said.value_counts().to_dict(), flush=True)
    return {"cells": lung.n_obs, "rows": rows}


def main() -> None:
    """Score every set, print tables, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with mouse/ and bench/")
    parser.add_argument("--model", default="genemamba-mini", help="name or folder of a checkpoint")
    parser.add_argument("--max-cells", type=int, default=1_000, help="of each mouse set")
    parser.add_argument("--max-reference", type=int, default=1_000, help="of each human set")
    args = parser.parse_args()
    warnings.simplefilter("ignore", gm.errors.GeneMambaWarning)
    begun = time.perf_counter()
    sets = {name: run_set(name, args) for name in MOUSE}
    result = {
        "benchmark": "mouse",
        "model": args.model,
        "sets": sets,
        "lineages": run_lineages(args),
        "seconds": round(time.perf_counter() - begun, 1),
    }
    print("\n\n".join(tables(result).values()) + "\n\n" + json.dumps(result))


if __name__ == "__main__":
    main()
