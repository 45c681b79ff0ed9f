"""Fit the classifier that comes with genemamba-mini, and make its map of the body.

    python benchmarks/body_head.py --corpus CORPUS --labels benchmarks/labels.csv --out CHECKPOINT \
        --map src/genemamba/maps/bundled/genemamba-body

CORPUS is the folder that `genemamba build-corpus` wrote for the release, with profiles and labels.
Cells are drawn from each average profile (a quarter thinned to 300 to 2,000 counts, a quarter cut
to panels of 300 to 3,000 genes, half of the panels of variable genes); the labelled cells of the
corpus are added. Calibration comes from tables that were held out. The map holds drawn cells that
were not degraded, and real ones, with their labels, or those that the classifier gives. A cell is
familiar if it is as near to the map as 95 % of the cells of a corpus file are to the map without
that file; the limit holds for nine files in ten. No bench and no validation set takes part; `SURE`
was chosen on `valid/`.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
from _body_map import table_of, write_body
from scipy import sparse

import genemamba as gm
from genemamba.datasets import Corpus
from genemamba.heads import Reference, TermHead, fit_terms, write_terms
from genemamba.heads.head import FAMILIAR
from genemamba.tokens import FIRST_GENE, Measured

DRAWN, FEWEST = 48, 12  # cells of a profile, divided by the root of the number with its label
REAL = 60  # labelled cells of a type and file
SHOWN = 350  # real cells of a file on the map
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


def limit_of(X: np.ndarray, file: np.ndarray) -> float:
    """Return the distance up to which a cell is familiar; "" is the file of drawn cells."""
    limits = {}
    for name in np.unique(file[file != ""]):
        rest, own = file != name, file == name
        away = Reference.unlabelled(X[rest]).mean_distance(X[own])
        limits[name] = float(np.quantile(away, FAMILIAR))
        print(f"{name}: {FAMILIAR:.0%} of its cells lie within {limits[name]:.3f}")
    return float(np.quantile(list(limits.values()), FILES))


def main() -> None:
    """Fit, store and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True, help="table of labels")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--map", type=Path, required=True, help="folder of the map of the body")
    args = parser.parse_args()
    rng, corpus, model = np.random.default_rng(0), Corpus(args.corpus), str(args.out)
    file_of = np.array([name.split("/")[0] for name in corpus.groups])
    drawn, how = drawn_cells(corpus, rng)
    X = embedded(degraded(corpus.drawn(drawn, rng), how, rng), corpus, model)
    real = np.flatnonzero(corpus.profile < 0)
    taught = some(real[corpus.label[real] >= 0], corpus.label, REAL, rng)
    shown = some(real, np.unique(file_of[corpus.group], return_inverse=True)[1], SHOWN, rng)
    cells = np.union1d(taught, shown)
    R = embedded(corpus.rows(cells), corpus, model)
    all_X = np.concatenate([X, R[np.searchsorted(cells, taught)]])
    code = corpus.label[np.concatenate([drawn, taught])]
    source = np.concatenate([corpus.group[drawn], corpus.group[taught]])
    fine = np.isfinite(all_X).all(axis=1)
    labels = [corpus.labels[i] for i in np.unique(code)]
    y = np.unique(code, return_inverse=True)[1]
    panel = np.concatenate([how == PANEL, np.zeros(len(taught), dtype=bool)])
    fitted = fit_terms(all_X[fine], y[fine], labels, source[fine], panel[fine], rng)
    probe, terms, slope, offset, stats = fitted
    tissues, occurs = tissues_of(args.labels, labels)
    info = {
        **stats,
        "cells": int(fine.sum()),
        "model_sha256": gm.models.load(model).provenance["sha256"],
    }
    counts = corpus.rows(cells).astype(np.float64)
    share = (sparse.diags(1 / np.maximum(counts.sum(axis=1).A1, 1)) @ counts).mean(axis=0).A1
    tokens = np.arange(len(share), dtype=np.int32) + FIRST_GENE
    measured = Measured(tokens[share > 0], share[share > 0].astype(np.float32))
    whole = np.flatnonzero((how == WHOLE) & np.isfinite(X).all(axis=1))
    kept = np.isfinite(R).all(axis=1)
    V, on_map = np.concatenate([X[whole], R[kept]]), np.concatenate([drawn[whole], cells[kept]])
    head = TermHead(
        tuple(labels), terms, probe, slope, offset, tissues, occurs, Reference.unlabelled(V), 0.0,
        measured, info, args.map.name,
    )  # fmt: skip
    body = write_body(args.map, V, table_of(corpus, on_map, V, head, args.labels), measured, model)
    V = body.index.vectors(np.arange(len(V)))  # as the map keeps them
    file = np.where(corpus.profile[on_map] >= 0, "", file_of[corpus.group[on_map]])
    head = replace(head, reference=Reference.unlabelled(V), farthest=limit_of(V, file))
    write_terms(head, args.out / "labels")
    print(
        f"{len(labels)} labels, {len(terms)} terms, slopes {slope.round(2)}, "
        f"limit {head.farthest:.3f}\n"
        f"{body}"
    )


if __name__ == "__main__":
    main()
