"""What do five minutes on your own cells win? The model before and after, next to PCA-50.

    python benchmarks adapt --data ../shared/data

Each set of `bench/` is adapted to with `gm.tl.adapt`, two of `mouse/` and both panels. Labels are
never seen; libraries are the batches or donors where they are known. Rows: the model unchanged
(zero-shot), adapted, PCA-50 of the set, and, where scvi-tools is installed, scVI trained on the
2,000 genes that vary most with its defaults (400 epochs); f1 and avg_bio as in quality.py (folds
are stratified by type). PCA, scVI and the adapted model have seen the cells that are scored. So
where a set has batches, the model is also adapted without one (the largest that leaves half of the
cells) and all but scVI are scored on that batch alone: `apart`. PCA-50 apart has its genes and
components from the other batches.

`predicted` is what the adaptation itself measured on held-out cells, before and after, and by what
it was chosen; `kept` is the share of the trained weights; 0 joins factors of the
cells only. `seconds` is the whole call. The last
line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
from _data import SETS
from _judge import BASELINES, Embed, judged, model_vectors, score
from _tables import adapt as tables
from scipy import sparse

import genemamba as gm
from genemamba.cells.read import read_counts
from genemamba.compare.trained import has_scvi, train_scvi

MOUSE = {"lung_zilionis_mouse": "donor", "bone_marrow_stroma_matsushita": None}
FEWEST, FEWEST_HELD = 200, 50  # cells to adapt to, and of a batch to score
PANELS = {"cosmx_nsclc_profast": None, "merfish_mouse_brain_cellxgene": None}
VALID = {"breast_tumour": None, "lymphoid_organs": "sample"}
FOLDERS = {"mouse": MOUSE, "panels": PANELS, "valid": VALID}
BATCHES = {name: one.batch_key for name, one in SETS.items()} | MOUSE | PANELS | VALID


def load(name: str, data: Path, max_cells: int) -> ad.AnnData:
    """Read a set and keep the types that have a few cells."""
    if name in SETS:
        return judged(SETS[name].load(data, max_cells), max_cells)
    folder = next(folder for folder, sets in FOLDERS.items() if name in sets)
    adata = ad.read_h5ad(data / folder / f"{name}.h5ad")
    adata.obs_names_make_unique()
    return judged(adata, max_cells)


def adapted(
    adata: ad.AnnData, key: str | None, args: argparse.Namespace, out: Path
) -> dict[str, Any]:
    """Adapt to cells and say what it took and measured."""
    begun = time.perf_counter()
    model = gm.tl.adapt(
        adata, out=out, batch_key=key, minutes=args.minutes, steps=args.steps, model=args.model
    )
    found = model.provenance["adapted"]
    kept = found["scores"][found["kept"]]
    return {
        "seconds": round(time.perf_counter() - begun, 1),
        **{name: found[name] for name in ("steps", "kept", "held_out")},
        "predicted": [found["scores"]["unchanged"]["predicted"], kept["predicted"]],
        "neighbours": [found["scores"]["unchanged"]["neighbours"], kept["neighbours"]],
    }


def scvi_vectors(pca: Any, key: str | None) -> Embed:
    """Return what trains scVI, as compare does, on the variable genes that `pca` chose."""

    def embed(adata: ad.AnnData) -> np.ndarray:
        batch = adata.obs[key].astype(str).to_numpy() if key else None
        return train_scvi(sparse.csr_matrix(adata[:, pca.genes].X), batch, seed=0)

    return embed


def apart(adata: ad.AnnData, key: str, out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Adapt without one batch and score that batch."""
    batch = adata.obs[key].astype(str).to_numpy()
    names, number = np.unique(batch, return_counts=True)
    fit = (number <= adata.n_obs / 2) & (adata.n_obs - number >= FEWEST)
    if not fit.any():
        return {}
    name = names[fit][number[fit].argmax()]
    rest, held = adata[batch != name].copy(), judged(adata[batch == name].copy(), args.max_cells)
    if held.n_obs < FEWEST_HELD or held.obs["cell_type"].nunique() < 2:
        return {}
    about = adapted(rest, key, args, out)
    pca = BASELINES["PCA-50"]()
    pca(rest)
    rows = {"zero-shot": model_vectors(args.model), "adapted": model_vectors(str(out)), "pca": pca}
    scores = {row: score(held, embed, robust=False) for row, embed in rows.items()}
    return {"batch": str(name), "cells": held.n_obs, "rows": scores, **about}


def run_set(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Adapt to a set and score it before and after."""
    adata, key = load(name, args.data, args.max_cells), BATCHES[name]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "adapted"
        about = adapted(adata, key, args, out)
        pca = BASELINES["PCA-50"]()
        rows = {
            "zero-shot": model_vectors(args.model), "adapted": model_vectors(str(out)), "pca": pca,
        }  # fmt: skip
        if has_scvi() and read_counts(adata, None).values.kind == "counts":
            rows["scvi"] = scvi_vectors(pca, key)
        scores = {row: score(adata, embed, robust=False) for row, embed in rows.items()}
        found = {"cells": adata.n_obs, "rows": scores, **about}
        if key and not args.whole:
            found["apart"] = apart(adata, key, Path(folder) / "apart", args)
    return found


def main() -> None:
    """Adapt to every set, print a line a row, then the table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="with bench/, mouse/, panels/")
    names = ",".join([*SETS, *MOUSE, *PANELS])
    parser.add_argument("--sets", default=names, help="names, comma-separated")
    parser.add_argument("--minutes", type=float, default=5, help="for each adaptation")
    parser.add_argument("--steps", type=int, help="instead of minutes, on a busy machine")
    parser.add_argument("--model", default="genemamba-mini", help="name or folder of a checkpoint")
    parser.add_argument("--max-cells", type=int, default=2_000, help="of a set")
    parser.add_argument("--whole", action="store_true", help="leave out the batches held apart")
    args = parser.parse_args()
    chosen = args.sets.split(",")
    if unknown := set(chosen) - set(BATCHES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(BATCHES)}")
    warnings.filterwarnings("ignore")
    results = {}
    for name in chosen:
        results[name] = run_set(name, args)
        print(name, json.dumps(results[name]), flush=True)
    result = {"benchmark": "adapt", "minutes": args.minutes, "steps": args.steps, "sets": results}
    print(tables(result)["adapt"] + "\n\n" + json.dumps(result))


if __name__ == "__main__":
    main()
