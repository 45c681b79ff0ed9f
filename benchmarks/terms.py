"""How well are cells named without a reference, in the terms of the Cell Ontology?

    python benchmarks terms --data ../shared/data

gm.tl.annotate(adata) on the labelled sets of `bench/` and `valid/`, at most --max-cells of each.
`truth.csv` says which term, or which of several terms, a label of the authors means. A term that is
given is right if it is the truth or one of its ancestors, finer if it is below the truth, which the
labels cannot judge, and else wrong. stated is the mean confidence of the terms given; ECE compares
confidence with being right. Lineages: the share of the cells of a lineage that get its term or one
below it. The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np

import genemamba as gm
from genemamba.errors import GeneMambaWarning
from genemamba.ontology import Ontology

ONTOLOGY = Ontology.load()
LEVELS = ("broad", "auto", "fine")
LINEAGES = ("T cell", "B cell", "natural killer cell", "monocyte", "dendritic cell", "platelet")
LINEAGES += ("hematopoietic precursor cell",)
BLOOD = ("pbmc3k", "zheng_facs_pbmc")
Truth = dict[str, tuple[str, ...]]


def truths() -> dict[str, Truth]:
    """Read the terms of each label of each set."""
    found: dict[str, Truth] = defaultdict(dict)
    with (Path(__file__).parent / "truth.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[row["set"]][row["label"]] = tuple(row["cl_id"].split())
    return dict(found)


def verdict(term: str, truth: tuple[str, ...]) -> str:
    """Compare a term with what is true: right, finer or wrong."""
    if any(term in ONTOLOGY.ancestors(one, include_self=True) for one in truth):
        return "right"
    return "finer" if any(ONTOLOGY.is_ancestor(one, term) for one in truth) else "wrong"


def load(name: str, data: Path, truth: Truth, max_cells: int) -> ad.AnnData:
    """Read and embed cells whose label has a term."""
    file = next(
        path for part in ("bench", "valid") if (path := data / part / f"{name}.h5ad").exists()
    )
    adata = ad.read_h5ad(file)
    keep = np.flatnonzero(adata.obs["cell_type"].isin(truth))
    if len(keep) > max_cells:
        keep = np.sort(np.random.default_rng(0).choice(keep, max_cells, replace=False))
    adata = adata[keep].copy()
    gm.tl.embed(adata, precision="bfloat16")
    return adata


def judge(adata: ad.AnnData, truth: Truth, level: str) -> dict[str, float]:
    """Name the cells at one level."""
    gm.tl.annotate(adata, level=level)
    said = adata.obs["genemamba_cl"].astype(object)
    got = said.notna().to_numpy()
    kinds = adata.obs["cell_type"].astype(str)
    of = np.array([verdict(t, truth[k]) for t, k in zip(said[got], kinds[got], strict=True)])
    sure = adata.obs["genemamba_confidence"].to_numpy()[got]
    found = {name: float((of == name).sum() / len(adata)) for name in ("right", "finer", "wrong")}
    found["unknown"] = float(1 - got.mean())
    if len(of):
        found |= {
            "stated": float(sure.mean()),
            "is_right": float((of == "right").mean()),
            "right_or_finer": float((of != "wrong").mean()),
            "ece": float(gm.metrics.expected_calibration_error(sure, of != "wrong")),
            "depth": float(np.mean([ONTOLOGY.depth(term) for term in said[got]])),
        }
    return found


def lineages(adata: ad.AnnData, truth: Truth) -> dict[str, float]:
    """Return the share of the cells of each lineage that get its term, or one below it."""
    said = adata.obs["genemamba_cl"].astype(object)
    found = {}
    for name in LINEAGES:
        top = ONTOLOGY.find(name)

        def below(terms: tuple[str, ...], top: str | None = top) -> bool:
            return any(top in ONTOLOGY.ancestors(term, include_self=True) for term in terms)

        own = [below(truth[kind]) for kind in adata.obs["cell_type"].astype(str)]
        if any(own):
            named = [isinstance(term, str) and below((term,)) for term in said[own]]
            found[name] = float(np.mean(named))
    return found


def clusters(adata: ad.AnnData, truth: Truth) -> dict[str, float]:
    """Name Leiden clusters; return the shares of cells whose cluster's term is right or wrong."""
    import scanpy as sc

    sc.pp.neighbors(adata, use_rep="X_genemamba")
    sc.tl.leiden(adata, flavor="igraph", n_iterations=2)
    gm.tl.annotate(adata, groupby="leiden")
    said = adata.obs["genemamba_group_label"].astype(str)
    terms = {name: ONTOLOGY.find(name) for name in said.unique()}
    kinds = adata.obs["cell_type"].astype(str)
    of = np.array([
        verdict(str(terms[name]), truth[kind]) if terms[name] else "unknown"
        for name, kind in zip(said, kinds, strict=True)
    ])  # fmt: skip
    return {name: float((of == name).mean()) for name in ("right", "finer", "wrong", "unknown")}


def main() -> None:
    """Name every set at every level."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with bench/ and valid/")
    parser.add_argument("--sets", help="comma-separated; else all of truth.csv")
    parser.add_argument("--max-cells", type=int, default=2000, help="of a set")
    args = parser.parse_args()
    warnings.simplefilter("ignore", GeneMambaWarning)
    known, result = truths(), {}
    for name in args.sets.split(",") if args.sets else known:
        adata = load(name, args.data, known[name], args.max_cells)
        start = time.perf_counter()
        found: dict[str, Any] = {level: judge(adata, known[name], level) for level in LEVELS}
        found["seconds"] = (time.perf_counter() - start) / len(LEVELS)
        gm.tl.annotate(adata)
        guess = adata.uns["genemamba"]["annotate"]["tissue_guess"]
        found["tissues"] = guess["tissues"].tolist()
        if name in BLOOD:
            found["lineages"] = lineages(adata, known[name])
        found["clusters"] = clusters(adata, known[name])
        result[name] = {"cells": adata.n_obs, **found}
        print(name, result[name], flush=True)
    print(json.dumps({"benchmark": "terms", "sets": result}))


if __name__ == "__main__":
    main()
