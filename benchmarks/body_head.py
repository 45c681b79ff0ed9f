"""Fit the classifier that comes with genemamba-mini: cell types of the whole body.

    python benchmarks/body_head.py --corpus CORPUS --labels benchmarks/labels.csv --out CHECKPOINT

CORPUS is the folder that `genemamba build-corpus` wrote for the release, with profiles and labels.
Cells are drawn from each average profile (a quarter thinned to 300 to 2,000 counts, a quarter cut
to panels of 300 to 3,000 genes, half of the panels of variable genes); the labelled cells of the
corpus are added. Calibration comes from tables that were held out. A cell is familiar if it is as
near to a pool of drawn and real cells as 95 % of the cells of a corpus file are to the pool without
that file; the limit holds for nine files in ten. No bench and no validation set takes part; `SURE`
was chosen on `valid/`.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import anndata as ad
import numpy as np
from scipy import sparse

import genemamba as gm
from genemamba.datasets import Corpus
from genemamba.heads import Reference, TermHead, fit_terms, write_terms
from genemamba.heads.head import FAMILIAR
from genemamba.tokens import FIRST_GENE, Measured

DRAWN, FEWEST = 48, 12  # cells of a profile, divided by the root of the number with its label
REAL = 60  # labelled cells of a type and file
POOL_DRAWN, POOL_REAL = 6, 120  # of each profile, of each file
FILES = 0.9  # share of the files whose cells are familiar
N_PANELS, THINNED, PANELS = 24, (300, 2_000), (300, 3_000)
WHOLE, THIN, PANEL = 0, 1, 2
PARTS = {
    "Brain": ("Cerebellum", "Cerebral cortex", "Cerebrum"),
    "Eye": ("Retina",),
    "Intestine": ("Colon", "Ileum", "Rectum"),
    "Lung": ("Airway", "Bronchoalveolar lavage"),
}  # a tissue has the types of its parts, too


def drawn_cells(corpus: Corpus, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return one cell of the corpus for each draw, and how the draw is degraded."""
    profiles, first = np.unique(corpus.profile, return_index=True)
    cells = first[profiles >= 0]
    cells = cells[corpus.label[cells] >= 0]
    label = corpus.label[cells]
    number = np.maximum(FEWEST, DRAWN / np.sqrt(np.bincount(label)[label])).astype(int)
    cells = np.repeat(cells, number)
    return cells, rng.choice([WHOLE, THIN, PANEL], len(cells), p=[0.5, 0.25, 0.25])


def degraded(
    counts: sparse.csr_matrix, how: np.ndarray, rng: np.random.Generator
) -> sparse.csr_matrix:
    """Thin some cells, and cut others to one of a few panels."""
    counts = sparse.csr_matrix(counts, dtype=np.float32)
    sizes, depth = np.diff(counts.indptr), counts.sum(axis=1).A1
    low, high = np.log(THINNED)
    share = np.minimum(1, np.exp(rng.uniform(low, high, len(how))) / np.maximum(depth, 1))
    share = np.repeat(np.where(how == THIN, share, 1), sizes)
    counts.data = rng.binomial(counts.data.astype(int), share).astype(np.float32)
    often, varies = np.sqrt(counts.sum(axis=0).A1), variance(counts)
    masks = np.zeros((N_PANELS + 1, counts.shape[1]), dtype=bool)
    masks[-1] = True
    for k, mask in enumerate(masks[:-1]):
        size = int(np.exp(rng.uniform(*np.log(PANELS))))
        if k % 2:
            mask[np.argsort(-varies * np.exp(rng.normal(0, 0.5, len(varies))))[:size]] = True
        else:
            mask[rng.choice(len(often), size, replace=False, p=often / often.sum())] = True
    panel = np.where(how == PANEL, rng.integers(0, N_PANELS, len(how)), N_PANELS)
    counts.data *= masks[np.repeat(panel, sizes), counts.indices]
    counts.eliminate_zeros()
    return counts


def variance(counts: sparse.csr_matrix) -> np.ndarray:
    """Return the variance of each gene's log-normalised expression."""
    depth = np.maximum(counts.sum(axis=1).A1, 1)
    logged = sparse.csr_matrix(sparse.diags(1e4 / depth) @ counts).log1p()
    return logged.multiply(logged).mean(axis=0).A1 - logged.mean(axis=0).A1 ** 2


def embedded(counts: sparse.csr_matrix, corpus: Corpus, model: str) -> np.ndarray:
    """Return the vectors of counts of the corpus's genes."""
    adata = ad.AnnData(sparse.csr_matrix(counts, dtype=np.float32))
    adata.var_names = corpus.vocab.symbol
    return gm.tl.embed(adata, model=model, precision="bfloat16", copy=True).obsm["X_genemamba"]


def some(cells: np.ndarray, kind: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return at most `n` cells of each kind."""
    cells = cells[rng.permutation(len(cells))]
    order = np.argsort(kind[cells], kind="stable")
    cells = cells[order]
    rank = np.arange(len(cells)) - np.searchsorted(kind[cells], kind[cells])
    return np.sort(cells[rank < n])


def tissues_of(path: Path, labels: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the tissues of the table of labels, and which label is found in which."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["cl_id"] in labels]
    tissues = tuple(sorted({row["tissue"] for row in rows if row["tissue"]}))
    occurs = np.zeros((len(tissues), len(labels)), dtype=bool)
    for row in rows:
        if row["tissue"]:
            occurs[tissues.index(row["tissue"]), labels.index(row["cl_id"])] = True
    for whole, parts in PARTS.items():
        for part in parts:
            occurs[tissues.index(whole)] |= occurs[tissues.index(part)]
    return tissues, occurs


def pool_of(
    X: np.ndarray, y: np.ndarray, file: np.ndarray, n_labels: int
) -> tuple[Reference, float]:
    """Return the pool of familiar cells, and the limit; "" is the file of drawn cells."""
    limits = {}
    for name in np.unique(file[file != ""]):
        rest, own = file != name, file == name
        away = Reference(X[rest], y[rest], n_labels).mean_distance(X[own])
        limits[name] = float(np.quantile(away, FAMILIAR))
        print(f"{name}: {FAMILIAR:.0%} of its cells lie within {limits[name]:.3f}")
    return Reference(X, y, n_labels), float(np.quantile(list(limits.values()), FILES))


def main() -> None:
    """Fit, store and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True, help="table of labels")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    args = parser.parse_args()
    rng, corpus, model = np.random.default_rng(0), Corpus(args.corpus), str(args.out)
    file_of = np.array([name.split("/")[0] for name in corpus.groups])
    drawn, how = drawn_cells(corpus, rng)
    X = embedded(degraded(corpus.drawn(drawn, rng), how, rng), corpus, model)
    real = np.flatnonzero(corpus.profile < 0)
    taught = some(real[corpus.label[real] >= 0], corpus.label, REAL, rng)
    near = some(real, corpus.group, POOL_REAL, rng)
    near = some(near, np.unique(file_of[corpus.group], return_inverse=True)[1], POOL_REAL, rng)
    cells = np.union1d(taught, near)
    R = embedded(corpus.rows(cells), corpus, model)
    at = {"taught": np.searchsorted(cells, taught), "near": np.searchsorted(cells, near)}
    all_X = np.concatenate([X, R[at["taught"]]])
    code = corpus.label[np.concatenate([drawn, taught])]
    source = np.concatenate([corpus.group[drawn], corpus.group[taught]])
    fine = np.isfinite(all_X).all(axis=1)
    labels = [corpus.labels[i] for i in np.unique(code)]
    y = np.unique(code, return_inverse=True)[1]
    panel = np.concatenate([how == PANEL, np.zeros(len(taught), dtype=bool)])
    fitted = fit_terms(all_X[fine], y[fine], labels, source[fine], panel[fine], rng)
    probe, terms, slope, offset, stats = fitted
    whole = np.flatnonzero((how == WHOLE) & np.isfinite(X).all(axis=1))
    whole = some(whole, corpus.profile[drawn], POOL_DRAWN, rng)
    R = R[at["near"]]
    kept = np.isfinite(R).all(axis=1)
    pool = np.concatenate([X[whole], R[kept]])
    place = {label: i for i, label in enumerate(labels)}
    named = [place.get(corpus.labels[i], -1) if i >= 0 else -1
             for i in corpus.label[np.concatenate([drawn[whole], near[kept]])]]  # fmt: skip
    file = np.concatenate([np.full(len(whole), ""), file_of[corpus.group[near[kept]]]])
    reference, farthest = pool_of(pool, np.array(named), file, len(labels))
    tissues, occurs = tissues_of(args.labels, labels)
    info = {
        **stats,
        "cells": int(fine.sum()),
        "model_sha256": gm.models.load(model).provenance["sha256"],
    }
    counts = corpus.rows(near).astype(np.float64)
    share = (sparse.diags(1 / np.maximum(counts.sum(axis=1).A1, 1)) @ counts).mean(axis=0).A1
    tokens = np.arange(len(share), dtype=np.int32) + FIRST_GENE
    measured = Measured(tokens[share > 0], share[share > 0].astype(np.float32))
    head = TermHead(
        tuple(labels), terms, probe, slope, offset, tissues, occurs, reference, farthest,
        measured, info,
    )  # fmt: skip
    write_terms(head, args.out / "labels")
    print(
        f"{len(labels)} labels, {len(terms)} terms, slopes {slope.round(2)}, limit {farthest:.3f}"
    )


if __name__ == "__main__":
    main()
