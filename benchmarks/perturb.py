"""Does the model know what a gene is to a cell? Perturbation and attribution on real T cells.

    python benchmarks perturb --data ../shared/data

perturb    CD3D, CD3E and both at once are deleted in silico in T cells (genemamba.tl.perturb).
           Do T cells move away from the T cells' centroid, towards the other cells, more than
           when 100 genes (for both at once: pairs of genes) of like rank and like share of
           expressing T cells are deleted? A gene that no cell expresses is deleted as well.
attribute  Are the markers of T, B, NK cells and monocytes among the genes that made these cells'
           embedding, or their label by the checkpoint's own head (genemamba.tl.attribute)? Beside
           it, where the sentences alone put them: `place`, by the mean place in the sentences of
           this kind of cell, last where a cell does not express the gene; `contrast`, by how much
           higher that is than in the other three kinds. So the reader sees what the model adds.

Cells are drawn at random (--max-cells); labels are used to group cells, never to train. All
figures are of the frozen model. Columns of `perturb`, means over T cells that express the gene:
cosine     shift (cosine distance, in millionths), and as a multiple of the controls' mean
towards    cosine between shift and the way to the T cells' centroid; negative is away
score      change in nearness to T cells against others, in thousandths of the centroids' distance
rank       of the score among gene and controls, 1 is farthest away from T cells; p_away is
           rank / (1 + controls), one-sided; p_score is two-sided, with FDR over the genes

The last line printed is the same as JSON.
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

import genemamba as gm
from genemamba.errors import GeneMambaWarning

KINDS = {  # the types of each set that are one kind of cell
    "pbmc3k": {
        "T cell": ("Naive CD4 T", "Memory CD4 T", "CD8 T"),
        "B cell": ("B",),
        "monocyte": ("CD14+ Mono", "FCGR3A+ Mono"),
        "NK cell": ("NK",),
    },
    "zheng_facs_pbmc": {
        "T cell": (
            "CD4+ T Helper2",
            "CD4+/CD25 T Reg",
            "CD4+/CD45RA+/CD25- Naive T",
            "CD4+/CD45RO+ Memory",
            "CD8+ Cytotoxic T",
            "CD8+/CD45RA+ Naive Cytotoxic",
        ),
        "B cell": ("CD19+ B",),
        "monocyte": ("CD14+ Monocyte",),
        "NK cell": ("CD56+ NK",),
    },
}
GENES = ["CD3D", "CD3E", ("CD3D", "CD3E")]
MARKERS = {
    "T cell": ("CD3D", "CD3E", "IL7R"),
    "B cell": ("MS4A1", "CD79A"),
    "monocyte": ("LYZ", "CD14"),
    "NK cell": ("NKG7", "GNLY"),
}


def load(name: str, args: argparse.Namespace) -> ad.AnnData:
    """Read cells, and the kind of each into `obs["kind"]`: "other" for what is none of the four."""
    adata = SETS[name].load(args.data, args.max_cells)
    kind_of = {t: kind for kind, types in KINDS[name].items() for t in types}
    adata.obs["kind"] = [kind_of.get(t, "other") for t in adata.obs["cell_type"].astype(str)]
    return adata


def perturb(adata: ad.AnnData, args: argparse.Namespace) -> dict[str, Any]:
    """Delete genes in T cells."""
    adata.obs["state"] = np.where(adata.obs["kind"] == "T cell", "T cell", "other")
    vocab = gm.models.vocabulary(args.model)
    totals = np.asarray(adata.X.sum(axis=0)).ravel()
    unheard = adata.var_names[totals == 0]
    silent = next(str(gene) for gene in unheard if vocab.name_to_gene.get(gene, -1) >= 0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", GeneMambaWarning)
        gm.tl.perturb(
            adata,
            [*GENES, silent],
            groupby="state",
            target="T cell",
            groups=["T cell"],
            n_controls=args.controls,
            control_cells=args.control_cells,
            model=args.model,
        )
    entry = adata.uns["genemamba"]["genemamba_perturb"]
    table = entry["table"].set_index("perturbation")
    controls = entry["control_table"].groupby("perturbation")
    for name, row in table.iterrows():
        if not row["controls"]:
            continue
        own = controls.get_group(name)
        table.loc[name, "towards_controls"] = own["towards"].mean()
        table.loc[name, "rank_cosine"] = 1 + (own["cosine"] >= row["cosine_tested"]).sum()
        table.loc[name, "rank"] = 1 + (own["score"] <= row["score_tested"]).sum()
        farthest = own.sort_values("score")["control"].head(10).tolist()
        table.loc[name, "farthest_controls"] = ", ".join(farthest)
    table["p_away"] = table["rank"] / (1 + table["controls"])
    asked = adata.uns["genemamba"]["genemamba_perturb"]["perturbations"].tolist()
    shifts = adata.obsm["genemamba_perturb_euclidean"][:, asked.index(silent)]
    moved = float(np.nanmax(shifts))
    return {
        "silent_gene": silent,
        "silent_largest_shift": moved,
        "silent_warning": [str(w.message) for w in said if silent in str(w.message)],
        "table": json.loads(table.to_json(orient="index")),
    }


def report_perturb(result: dict[str, Any]) -> None:
    """Print what deletions did."""
    t = pd.DataFrame(result["table"]).T
    shown = pd.DataFrame(
        {
            "changed": t["changed"].astype(int).astype(str) + " of " + t["cells"].astype(str),
            "cosine ×1e6": 1e6 * t["cosine"].astype(float),
            "× controls": (t["cosine"] / t["cosine_controls"]).astype(float),
            "p_shift": t["p_shift"].astype(float),
            "towards": t["towards"].astype(float),
            "controls'": t["towards_controls"].astype(float),
            "score ×1e3": 1e3 * t["score"].astype(float),
            "controls' ×1e3": 1e3 * t["score_controls"].astype(float),
            "rank": t["rank"],
            "p_away": t["p_away"].astype(float),
            "p_score": t["p_score"].astype(float),
            "fdr_score": t["fdr_score"].astype(float),
        }
    )
    print(shown.to_string(float_format="{:.3f}".format))
    for name, farthest in t["farthest_controls"].dropna().items():
        print(f"  controls of {name} that move T cells away most: {farthest}")
    print(
        f"  {result['silent_gene']}: no cell expresses it; largest shift "
        f"{result['silent_largest_shift']}; said: {result['silent_warning']}",
        flush=True,
    )


def attribute(adata: ad.AnnData, args: argparse.Namespace) -> dict[str, Any]:
    """Rank the genes of each kind of cell by attribution and by the sentence alone."""
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(adata.obs["kind"] == kind) for kind in MARKERS]
    few = min([args.attribute_cells, *map(len, rows)])
    chosen = np.concatenate([rng.choice(cells, few, replace=False) for cells in rows])
    cells = adata[np.sort(chosen)].copy()
    ranks = by_sentence(cells, args.model)
    errors = {}
    for target in ("label", "embedding"):
        for method in ("gradient_x_input", "integrated_gradients"):
            gm.tl.attribute(
                cells, target=target, method=method, groupby="kind", model=args.model,
                steps=args.steps,
            )  # fmt: skip
            key = f"{target}, {'IG' if method[0] == 'i' else 'gradient'}"
            entry = cells.uns["genemamba"]["genemamba_attribution"]
            means = pd.DataFrame(
                cells.varm["genemamba_attribution"], cells.var_names, entry["groups"]
            )
            ranks[key] = means.rank(ascending=False, method="min")
            error = entry.get("completeness_error")
            errors |= {key: error} if error is not None else {}
    table = {
        f"{marker} in {kind}s": {way: int(rank.loc[marker, kind]) for way, rank in ranks.items()}
        for kind, markers in MARKERS.items()
        for marker in markers
        if marker in cells.var_names
    }
    top = {kind: r.nsmallest(8).index.tolist() for kind, r in ranks["label, IG"].items()}
    return {"cells_per_kind": few, "ranks": table, "top": top, "completeness_error": errors}


def by_sentence(cells: ad.AnnData, model: str) -> dict[str, pd.DataFrame]:
    """Rank genes by their mean place in a kind of cell, and by how much that is above others'."""
    gm.pp.rank_tokenize(cells, model=model)
    vocab = gm.models.vocabulary(model)
    place = pd.DataFrame(1.0, index=cells.obs_names, columns=cells.var_names)
    for name, row in zip(cells.obs_names, cells.obsm["genemamba_tokens"], strict=True):
        for rank, token in zip(row.indices, row.data, strict=True):
            if vocab.symbol[token - 2] in place:
                place.loc[name, vocab.symbol[token - 2]] = rank / row.nnz
    kinds = cells.obs["kind"]
    mean = pd.DataFrame({kind: place[(kinds == kind).to_numpy()].mean() for kind in MARKERS})
    others = pd.DataFrame({kind: place[(kinds != kind).to_numpy()].mean() for kind in MARKERS})
    return {"place": mean.rank(method="min"), "contrast": (mean - others).rank(method="min")}


def report_attribute(result: dict[str, Any]) -> None:
    """Print where the markers stand, 1 is first of all genes."""
    print(f"  {result['cells_per_kind']} cells of each kind; rank of the marker among all genes")
    table = pd.DataFrame(result["ranks"]).T
    print(table.to_string())
    print(f"  median: {table.median().to_dict()}")
    for kind, genes in result["top"].items():
        print(f"  {kind}, label, IG: {', '.join(genes)}")
    print(f"  completeness error: {result['completeness_error']}", flush=True)


PARTS = {"perturb": (perturb, report_perturb), "attribute": (attribute, report_attribute)}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the .h5ad files")
    parser.add_argument("--sets", default=",".join(KINDS), help="names, comma-separated")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--model", default="genemamba-mini", help="name or folder of a checkpoint")
    parser.add_argument("--max-cells", type=int, default=300, help="cells drawn from each set")
    parser.add_argument("--controls", type=int, default=100, help="controls of each deletion")
    parser.add_argument("--control-cells", type=int, default=20, help="cells a control is tried in")
    parser.add_argument("--attribute-cells", type=int, default=10, help="cells of each kind")
    parser.add_argument("--steps", type=int, default=16, help="steps of integrated gradients")
    args = parser.parse_args()
    args.sets, args.parts = args.sets.split(","), args.parts.split(",")
    for given, known in ((args.sets, KINDS), (args.parts, PARTS)):
        if unknown := set(given) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(known)}")
    return args


def main() -> None:
    """Run every part on every set, print tables, then JSON."""
    args = parse_args()
    results: dict[str, Any] = {}
    for name in args.sets:
        adata = load(name, args)
        kinds = adata.obs["kind"].value_counts().to_dict()
        results[name] = {"cells": adata.n_obs, "kinds": kinds}
        for part in args.parts:
            start = time.perf_counter()
            run, report = PARTS[part]
            results[name][part] = run(adata, args)
            seconds = results[name][part]["seconds"] = round(time.perf_counter() - start, 1)
            print(f"\n{name}, {part}: {adata.n_obs} cells ({kinds}), {seconds:.0f} s")
            report(results[name][part])
    print("\n" + json.dumps({"benchmark": "perturb", "model": args.model, "sets": results}))


if __name__ == "__main__":
    main()
