"""Which objectives, sizes and lengths make the better embedding? Judged on held-out studies.

    python benchmarks ablation --corpus CORPUS --out RUNS --rows "base,no profile"

Every row trains the recipe `genemamba-mini`, as it was before these rows changed it (`BASE`), with
a few settings changed, for few steps, without two studies of the corpus (`--held-out`), and is
judged on these. The benchmark sets are never touched, and no given label is used: Leiden clusters
of each study are named by the marker genes of blood that they express most. What is judged is
whether a type can be told in the one study from the other, and whether types or studies form the
clusters of both together.

f1       macro-F1 of logistic regression on the standardised embedding, other study to this study
knn      accuracy of 15 nearest neighbours, likewise
avg_bio  gm.metrics.avg_bio of both studies together
`PCA-50` and `HVG` are fitted on both studies together; the clusters came from a PCA of each.
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
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import genemamba as gm
from genemamba.datasets import Corpus
from genemamba.model import GeneMamba
from genemamba.model.inference import embed_tokens
from genemamba.model.runtime import choose_runtime
from genemamba.tokens import FIRST_GENE, rank_csr
from genemamba.train.recipe import Recipe

Changes = dict[str, dict[str, Any]]
NEXT = {"next": 1.0, "masked": 0.0, "profile": 0.0, "contrast": 0.0}
BASE: Changes = {"objectives": {"profile": 1.0}, "optimiser": {"start_share": 0.0}}
ROWS: dict[str, Changes] = {
    "base": {},
    "random start": {"model": {"start": ""}},
    "masked only": {"objectives": {"masked": 1.0, "profile": 0.0, "contrast": 0.0}},
    "paper: next gene": {"objectives": NEXT},
    "not masked": {"objectives": {"masked": 0.0}},
    "no contrast": {"objectives": {"contrast": 0.0}},
    "no profile": {"objectives": {"profile": 0.0}},
    "next and previous gene too": {"objectives": {"two_direction": 0.3}},
    "even capture": {"data": {"capture": 0.0}},
    "dropped genes for parts": {"data": {"views": "dropped"}},
    "merge gate": {"model": {"merge": "gate"}},
    "no pre-norm": {"model": {"pre_norm": False}},
    "1 layer": {"model": {"n_layers": 1}},
    "4 layers": {"model": {"n_layers": 4}},
    "384 tokens, half the cells": {"data": {"length": 384, "cells": 32}},
    "96 tokens, twice the cells": {"data": {"length": 96, "cells": 128}},
    "rate 1.5e-3": {"optimiser": {"learning_rate": 1.5e-3}},
}
FEW_STEPS_RATE = 5e-4  # half of the recipe's: few steps do not recover from a high one
MARKERS = {  # as immunologists teach them
    "naive CD4 T": "CCR7 LEF1 TCF7 MAL FHIT",
    "memory CD4 T": "IL7R IL32 ITGB1 AQP3 S100A4 LTB",
    "CD8 T": "CD8A CD8B GZMK LINC02446",
    "NK": "NKG7 GNLY KLRF1 KLRD1 SPON2 FGFBP2",
    "B": "MS4A1 CD79A CD79B BANK1",
    "plasma": "MZB1 IGHG1 JCHAIN DERL3",
    "CD14 monocyte": "CD14 S100A8 S100A9 LYZ VCAN",
    "CD16 monocyte": "FCGR3A MS4A7 CDKN1C LST1",
    "dendritic": "FCER1A CLEC10A CD1C HLA-DQA1",
    "plasmacytoid dendritic": "LILRA4 IL3RA PLD4 IRF7",
    "megakaryocyte": "PPBP PF4 GNG11 TUBB1",
    "erythroid": "HBB HBA1 HBA2 AHSP",
    "dividing": "MKI67 TOP2A STMN1 TYMS",
}


class Judge:
    """The cells of held-out studies, with types that each study's clusters and markers give."""

    def __init__(self, corpus: Corpus, names: list[str], n_cells: int) -> None:
        studies = [Study(corpus, name, n_cells) for name in names]
        common = set.intersection(*(set(study.types) for study in studies))
        kept = [np.isin(study.types, list(common)) for study in studies]
        pairs = list(zip(studies, kept, strict=True))
        self.types = np.concatenate([study.types[own] for study, own in pairs])
        self.study = np.repeat(np.arange(len(names)), [own.sum() for own in kept])
        self.counts = sparse.vstack([study.counts[own] for study, own in pairs], format="csr")

    def embed(self, model: GeneMamba) -> np.ndarray:
        """Embed the cells."""
        assert model.vocab is not None
        token = np.arange(model.vocab.n_genes, dtype=np.int32) + FIRST_GENE
        own = self.counts
        ranked = rank_csr(own.indptr, own.indices, own.data, token, model.vocab.median, 1024)
        return embed_tokens(model, ranked, runtime=choose_runtime())

    def scores(self, x: np.ndarray) -> dict[str, float]:
        """Return f1, knn, avg_bio."""
        f1, near = [], []
        for here in np.unique(self.study):
            test, train = self.study == here, self.study != here
            y = self.types[test]
            regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
            said = regression.fit(x[train], self.types[train]).predict(x[test])
            f1.append(f1_score(y, said, average="macro"))
            neighbours = KNeighborsClassifier(15).fit(x[train], self.types[train])
            near.append(np.mean(neighbours.predict(x[test]) == y))
        bio = gm.metrics.avg_bio(x, self.types)
        found = {"f1": np.mean(f1), "knn": np.mean(near), "avg_bio": bio}
        return {name: round(float(value), 4) for name, value in found.items()}

    def baselines(self) -> dict[str, dict[str, float]]:
        """Score what needs no model."""
        adata = _reduced(self.counts)
        variable = adata.X[:, adata.var["highly_variable"].to_numpy()].toarray()
        return {"PCA-50": self.scores(adata.obsm["X_pca"]), "HVG": self.scores(variable)}


class Study:
    """Cells of a study, and the types of their clusters."""

    def __init__(self, corpus: Corpus, name: str, n_cells: int) -> None:
        own = [i for i, group in enumerate(corpus.groups) if group.partition("/")[0] == name]
        cells = np.flatnonzero(np.isin(corpus.group, own))
        if len(cells) > n_cells:
            cells = np.sort(np.random.default_rng(0).choice(cells, n_cells, replace=False))
        self.counts = corpus.rows(cells)
        adata = _reduced(self.counts)
        sc.pp.neighbors(adata, n_pcs=20)
        sc.tl.leiden(adata, resolution=1.5, flavor="igraph", n_iterations=2, directed=False)
        cluster = adata.obs["leiden"].to_numpy().astype(int)
        self.types = _named(adata.X, corpus.vocab.symbol, cluster)[cluster]


def _named(logged: sparse.csr_matrix, symbol: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Give each cluster the type whose markers it expresses most, compared with the others."""
    members = np.eye(cluster.max() + 1, dtype=np.float32)[:, cluster]
    strength = []
    for markers in MARKERS.values():
        own = logged[:, np.isin(symbol, markers.split())]
        means = members @ own[:, own.getnnz(0) >= 10].toarray() / members.sum(1, keepdims=True)
        standard = (means - means.mean(0)) / (means.std(0) + 0.1)
        strength.append(standard.mean(1) if means.shape[1] else np.full(len(members), -np.inf))
    return np.array(list(MARKERS))[np.argmax(strength, axis=0)]


def _reduced(counts: sparse.csr_matrix) -> ad.AnnData:
    """Normalise, choose 2,000 variable genes, and find 50 principal components."""
    adata = ad.AnnData(counts.astype(np.float32))
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=2000)
    sc.pp.pca(adata, n_comps=50, mask_var="highly_variable")
    return adata


def recipe_of(row: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return the recipe of a row: `BASE` with a few settings changed."""
    values = Recipe.read("genemamba-mini").to_dict()
    values["optimiser"] |= {"learning_rate": FEW_STEPS_RATE}
    for section, changes in (*BASE.items(), *ROWS[row].items()):
        values[section] = values[section] | changes
    values["data"]["held_out"] = args.held_out
    values["optimiser"] |= {"steps": args.steps, "epochs": 0}
    values["run"]["check_every"] = args.steps
    return values | {"name": row}


def run_row(row: str, corpus: Corpus, judge: Judge, args: argparse.Namespace) -> dict:
    """Train and judge one row, or read what was found before."""
    folder = args.out / row.replace(" ", "-").replace(",", "").replace(":", "")
    done = folder / "judged.json"
    if done.exists():
        return json.loads(done.read_text())
    begun = time.process_time()
    model = gm.tl.pretrain(corpus, folder, recipe=recipe_of(row, args))
    seconds = time.process_time() - begun
    result = judge.scores(judge.embed(model)) | {"cpu_seconds": round(seconds)}
    done.write_text(json.dumps(result))
    return result


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
    judge = Judge(corpus, args.held_out, args.cells)
    results = judge.baselines()
    for name, scores in results.items():
        print(name, scores, flush=True)
    for path in args.model:
        model = gm.models.load(path)
        results[path.name] = judge.scores(judge.embed(model))
        print(path.name, results[path.name], flush=True)
    for row in filter(None, args.rows.split(",")):
        name = row.replace(";", ",")
        results[name] = run_row(name, corpus, judge, args)
        print(name, results[name], flush=True)
    print(json.dumps({"benchmark": "ablation", "steps": args.steps, "rows": results}))


if __name__ == "__main__":
    main()
