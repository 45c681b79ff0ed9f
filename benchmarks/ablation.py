"""Which objectives, sizes and lengths make the better embedding? Judged on held-out studies.

    python benchmarks/ablation.py --corpus CORPUS --out RUNS --rows "base,no profile"

Every row trains the recipe `genemamba-mini` with a few settings changed, for few steps, without two
studies of the corpus (`--held-out`), and is judged on these. The benchmark sets are never touched,
and no label is used: the counts of a held-out cell are split at random in two; clusters of the
one half (Leiden on 20 principal components) are what the embedding of the other half has to tell.

f1       macro-F1 of logistic regression on the standardised embedding, 3 folds
knn      accuracy of 15 nearest neighbours
avg_bio  gm.metrics.avg_bio
`PCA-50` is that of the half itself; it is made as the clusters were, which favours it.
A row that is done is not trained again. The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import scanpy as sc
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import genemamba as gm
from genemamba.datasets import Corpus
from genemamba.model import GeneMamba
from genemamba.model.inference import choose_runtime, embed_tokens
from genemamba.tokens import FIRST_GENE, rank_csr
from genemamba.train.recipe import Recipe

Changes = dict[str, dict[str, Any]]
MASKED = {"masked": 1.0, "profile": 0.0}
RATE = "learning_rate"
ROWS: dict[str, Changes] = {
    "base": {},
    "random start": {"model": {"start": ""}},
    "masked for profile, random start": {"objectives": MASKED, "model": {"start": ""}},
    "not masked": {"objectives": {"masked": 0.0}},
    "no contrast": {"objectives": {"contrast": 0.0}},
    "no profile": {"objectives": {"profile": 0.0}},
    "dropped genes for halves": {"data": {"views": "dropped"}},
    "merge gate": {"model": {"merge": "gate"}},
    "no pre-norm": {"model": {"pre_norm": False}},
    "1 layer": {"model": {"n_layers": 1}},
    "4 layers": {"model": {"n_layers": 4}},
    "384 tokens, half the cells": {"data": {"length": 384, "cells": 32}},
    "96 tokens, twice the cells": {"data": {"length": 96, "cells": 128}},
    "next and previous gene too": {"objectives": {"two_direction": 0.3}},
    "rate 1.5e-4": {"optimiser": {RATE: 1.5e-4}},
    "rate 1.5e-3": {"optimiser": {RATE: 1.5e-3}},
    "paper: next gene": {"objectives": {"next": 1.0, "profile": 0.0, "contrast": 0.0}},
}


class Study:
    """The two halves of the cells of a held-out study: clusters of one, counts of the other."""

    def __init__(self, corpus: Corpus, name: str, n_cells: int) -> None:
        rng = np.random.default_rng(0)
        own = [i for i, group in enumerate(corpus.groups) if group.partition("/")[0] == name]
        cells = np.flatnonzero(np.isin(corpus.group, own))
        if len(cells) > n_cells:
            cells = np.sort(rng.choice(cells, n_cells, replace=False))
        counts = corpus.rows(cells)
        first = rng.binomial(counts.data, 0.5)
        halves = [
            sparse.csr_matrix((data, counts.indices, counts.indptr), counts.shape)
            for data in (first, counts.data - first)
        ]
        labels, _ = _clusters(halves[0])
        _, self.pca = _clusters(halves[1])
        common = np.bincount(labels)[labels] >= 10
        self.labels, self.pca, self.counts = labels[common], self.pca[common], halves[1][common]

    def embed(self, model: GeneMamba) -> np.ndarray:
        """Embed the other half."""
        assert model.vocab is not None
        token = np.arange(model.vocab.n_genes, dtype=np.int32) + FIRST_GENE
        own = self.counts
        ranked = rank_csr(own.indptr, own.indices, own.data, token, model.vocab.median, 1024)
        return embed_tokens(model, ranked, runtime=choose_runtime())

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Return f1, knn, avg_bio."""
        y, folds = self.labels, StratifiedKFold(3, shuffle=True, random_state=0)
        regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        f1 = f1_score(y, cross_val_predict(regression, x, y, cv=folds), average="macro")
        near = cross_val_predict(KNeighborsClassifier(15), x, y, cv=folds)
        return np.array([f1, np.mean(near == y), gm.metrics.avg_bio(x, y)])


def _clusters(counts: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Return Leiden clusters, and 50 principal components."""
    adata = ad.AnnData(counts.astype(np.float32))
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=2000)
    sc.pp.pca(adata, n_comps=50, mask_var="highly_variable")
    sc.pp.neighbors(adata, n_pcs=20)
    sc.tl.leiden(adata, flavor="igraph", n_iterations=2, directed=False)
    return adata.obs["leiden"].to_numpy().astype(int), adata.obsm["X_pca"]


def recipe_of(row: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return the recipe of a row: that of the release with a few settings changed."""
    values = Recipe.read("genemamba-mini").to_dict()
    for section, changes in ROWS[row].items():
        values[section] = values[section] | changes
    values["data"]["held_out"] = args.held_out
    values["optimiser"] |= {"steps": args.steps, "epochs": 0}
    values["run"]["check_every"] = args.steps
    return values | {"name": row}


def run_row(row: str, corpus: Corpus, studies: list[Study], args: argparse.Namespace) -> dict:
    """Train and judge one row, or read what was found before."""
    folder = args.out / row.replace(" ", "-").replace(",", "").replace(":", "")
    done = folder / "judged.json"
    if done.exists():
        return json.loads(done.read_text())
    begun = time.process_time()
    model = gm.tl.pretrain(corpus, folder, recipe=recipe_of(row, args))
    seconds = time.process_time() - begun
    each = [study.scores(study.embed(model)) for study in studies]
    result = _said(each) | {"cpu_seconds": round(seconds)}
    done.write_text(json.dumps(result))
    return result


def _said(each: list[np.ndarray]) -> dict[str, float]:
    return dict(zip(("f1", "knn", "avg_bio"), np.mean(each, 0).round(4).tolist(), strict=True))


def main() -> None:
    """Run the rows, print each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder of build-corpus")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--rows", default=",".join(r.replace(",", ";") for r in ROWS),
                        help="comma-separated; a comma in a name is written ;")  # fmt: skip
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--cells", type=int, default=1000, help="judged of each study")
    parser.add_argument("--held-out", nargs="+",
                        default=["pbmc_donorA_unlabelled", "pbmc_hao1000_unlabelled"])  # fmt: skip
    parser.add_argument("--model", type=Path, nargs="*", default=[], help="judge these, too")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    corpus = Corpus(args.corpus)
    studies = [Study(corpus, name, args.cells) for name in args.held_out]
    results: dict[str, dict[str, float]] = {
        "PCA-50": _said([study.scores(study.pca) for study in studies])
    }
    print("PCA-50", results["PCA-50"], flush=True)
    for path in args.model:
        model = gm.models.load(path)
        results[path.name] = _said([study.scores(study.embed(model)) for study in studies])
        print(path.name, results[path.name], flush=True)
    for row in filter(None, args.rows.split(",")):
        name = row.replace(";", ",")
        results[name] = run_row(name, corpus, studies, args)
        print(name, results[name], flush=True)
    print(json.dumps({"benchmark": "ablation", "steps": args.steps, "rows": results}))


if __name__ == "__main__":
    main()
