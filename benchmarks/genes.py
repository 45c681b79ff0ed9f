"""Do the model's gene vectors know which genes belong together?

    python benchmarks genes --data ../shared/data

Rows, all on the same genes (read in --min-cells of the corpus cells) and the same pairs:
static       rows of the model's embedding table.
context      mean final state of each gene over the corpus cells.
PCA          loadings of 50 components of the same cells, log1p of counts per 10,000, all genes.
coexpression the same expression values, a dimension per cell: Pearson correlation of the genes.
random       Gaussian vectors, one set per width.
hubs         knows how many positive pairs a gene has in the other half of the list, and no pair.
frequency    knows how many of the cells express the two genes (the product).

Pairs: Gene2vec's test pairs (ggipnn_test) and evaluation pairs (gene2vec_pairs), and pairs of
co-expressed genes (coexpression_pairs), each with positive and negative pairs; at most --pairs are
drawn of each. genemamba-mini was trained on none of them, so none is held out; a model trained
with the pathway loss may be scored only on pairs that the loss did not see. The corpus cells are
among those that genemamba-mini was trained on.

auroc    of positive against negative pairs; interval from a bootstrap over genes.
matched  of positive pairs against the same genes recombined, where knowing genes hardly helps.
Cosine similarity, except for coexpression: Pearson. gm.tl.gene_similarity defines all of it.

Modules: Leiden communities of the genes, tested for gene sets (gm.tl.gene_modules, gm.tl.enrich):
modules found, those with a set of FDR < 0.05, and sets enriched in any module. Two controls:
random, and frequency: twenty bins of genes by the number of cells that express them.
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

import genemamba as gm
from genemamba.genes.pairs import Ranking

CELLS = "corpus/covid_pbmc_gse149689.h5ad"
PAIRS = {
    "ggipnn_test": {"sep": "\t", "header": None},
    "gene2vec_pairs": {"sep": ","},
    "coexpression_pairs": {"sep": ",", "header": None},
}
SETS = {"Hallmark": "human_hallmark_v2025", "Reactome": "human_reactome_v2025"}
SHOWN = ["mean_positive", "mean_negative", "euclidean", "kl", "js", "js_shuffled"]
SHOWN += ["auroc", "auroc_low", "auroc_high"]
SHOWN += ["auroc_matched", "auroc_matched_low", "auroc_matched_high"]


def embeddings(
    args: argparse.Namespace,
) -> tuple[dict[str, pd.DataFrame], pd.Series, dict[str, Any]]:
    """Make every row from the same cells, on the genes that enough of them express.

    Also the number of cells that express each gene, and what the result has to state.
    """
    cells = ad.read_h5ad(args.data / CELLS)
    chosen = np.random.default_rng(args.seed).choice(
        cells.n_obs, min(args.cells, cells.n_obs), replace=False
    )
    cells = cells[np.sort(chosen)].copy()
    gm.tl.gene_embedding(cells, model=args.model, key_added="static")
    gm.tl.gene_embedding(
        cells, model=args.model, kind="context", max_tokens=args.max_tokens, key_added="context"
    )
    cells = cells[:, cells.var["context_n_cells"] >= args.min_cells].copy()
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    sc.pp.pca(cells, n_comps=50, random_state=args.seed)
    rows = {name: cells.varm[name] for name in ("static", "context")}
    rows |= {"PCA": cells.varm["PCs"], "coexpression": cells.X.T.toarray()}
    facts = {"cells": cells.n_obs, "genes": cells.n_vars, "max_tokens": args.max_tokens}
    tables = {name: pd.DataFrame(x, index=cells.var_names) for name, x in rows.items()}
    return tables, cells.var["context_n_cells"], facts


def score_pairs(
    name: str, tables: dict[str, pd.DataFrame], n_cells: pd.Series, args: argparse.Namespace
) -> dict[str, Any]:
    """Score every row on one list of pairs."""
    (path,) = (args.data / "gene-pairs").glob(f"{name}.*")
    pairs = pd.read_csv(path, keep_default_na=False, **PAIRS[name])
    if len(pairs) > args.pairs:
        pairs = pairs.sample(args.pairs, random_state=args.seed)
    found = gm.tl.gene_similarity(pairs, tables, n_boot=args.boot, rng=args.seed)
    table = found.table.reset_index()
    wanted = np.where(table["embedding"] == "coexpression", "pearson", "cosine")
    table = table[(table["measure"] == wanted) | (table["measure"] == "degree")]
    table = table.set_index("embedding")
    used = found.scores
    frequency = n_cells[used["gene_a"]].to_numpy() * n_cells[used["gene_b"]].to_numpy()
    ranking = Ranking(frequency, used["label"].to_numpy() == 1)
    table.loc["frequency", ["kind", "auroc"]] = ["control", ranking.auroc()]
    positive = int(used["label"].sum())
    print(f"\n{name}: {len(pairs):,} pairs drawn, {len(used):,} used ({positive:,} positive)")
    print(f"  lost: {found.lost}")
    print(table[SHOWN].to_string(float_format="{:.3f}".format), flush=True)
    rows = json.loads(table.to_json(orient="index", double_precision=4))
    return {"drawn": len(pairs), "used": len(used), "lost": found.lost, "rows": rows}


def score_modules(
    tables: dict[str, pd.DataFrame], n_cells: pd.Series, args: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Count the modules of every row that are rich in a gene set."""
    random = np.random.default_rng(args.seed).standard_normal(tables["static"].shape)
    rows = tables | {"random": pd.DataFrame(random, index=n_cells.index)}
    modules = {name: gm.tl.gene_modules(table, rng=args.seed) for name, table in rows.items()}
    modules["frequency"] = pd.qcut(n_cells.rank(method="first"), 20, labels=False)
    counts: dict[str, dict[str, Any]] = {}
    for name, module in modules.items():
        counts[name] = {"modules": module.nunique()}
        for title, file in SETS.items():
            path = args.data / "gene-sets" / f"{file}.gmt.gz"
            found = gm.tl.enrich(module, path).query("fdr < 0.05")
            counts[name][f"{title}: modules"] = found["module"].nunique()
            counts[name][f"{title}: sets"] = found["gene_set"].nunique()
    print(f"\nmodules of {len(n_cells):,} genes")
    print(pd.DataFrame(counts).T.to_string(), flush=True)
    return counts


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of corpus/, gene-pairs/ …")
    parser.add_argument("--model", default="genemamba-mini", help="name or folder of a checkpoint")
    parser.add_argument("--cells", type=int, default=2000, help="corpus cells, drawn at random")
    parser.add_argument("--max-tokens", type=int, default=1024)
    parser.add_argument("--min-cells", type=int, default=20, help="that have to express a gene")
    parser.add_argument("--pairs", type=int, default=30_000, help="most pairs of a list")
    parser.add_argument("--boot", type=int, default=200, help="bootstrap samples")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Score pairs and modules, print tables, then JSON."""
    args = parse_args()
    start = time.perf_counter()
    tables, n_cells, facts = embeddings(args)
    print(f"{facts['cells']:,} cells, {facts['genes']:,} genes in {args.min_cells} of them or more")
    pairs = {name: score_pairs(name, tables, n_cells, args) for name in PAIRS}
    modules = score_modules(tables, n_cells, args)
    seconds = round(time.perf_counter() - start, 1)
    summary = {"benchmark": "genes", "model": args.model, "seed": args.seed, "seconds": seconds}
    print("\n" + json.dumps(summary | facts | {"pairs": pairs, "modules": modules}))


if __name__ == "__main__":
    main()
