"""Compare distances between cell types in an embedding with those in each batch: scGraph.

Wang, Leskovec & Regev 2024, the weighted correlation of their package scgraph-eval. The score does
not reward merging types that the batches keep apart, as scores of mixing do.

Shapes: T types, N cells, G genes, D dimensions.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial.distance import cdist
from scipy.stats import trim_mean

FEWEST_CELLS, FEWEST_OF_TYPE = 100, 10  # of a batch, and of a type over all batches
_GENES, _PCS, _TRIMMED = 1_000, 10, 0.05


def type_distances(
    logged: sparse.csr_matrix, labels: NDArray[Any], batch: NDArray[Any], seed: int
) -> pd.DataFrame | None:
    """Return how far types are from each other in each batch, in the mean over batches, ``T × T``.

    `logged` is log-normalised expression, ``N × G``. None if no batch has 100 cells.
    """
    types, counts = np.unique(labels, return_counts=True)
    kept = np.isin(labels, types[counts >= FEWEST_OF_TYPE])
    parts = []
    for name in pd.unique(batch):
        cells = batch == name
        if cells.sum() < FEWEST_CELLS or not (cells & kept).any():
            continue
        expressed = logged[cells].getnnz(axis=0) > 0
        if expressed.sum() < 2:
            continue
        own = AnnData(logged[cells][:, expressed])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about genes that no cell of the batch expresses
            sc.pp.highly_variable_genes(own, flavor="seurat", n_top_genes=_GENES)
            variable = own.X[:, own.var["highly_variable"].to_numpy()]
            pca = sc.pp.pca(variable, n_comps=min(_PCS, *(n - 1 for n in variable.shape)),
                            random_state=seed)  # fmt: skip
        parts.append(_distances(pca[kept[cells]], labels[cells & kept]))
    if not parts:
        return None
    mean = pd.concat(parts).groupby(level=0).mean()
    mean = mean.loc[mean.columns, :]
    return mean / mean.max(axis=0)


def scgraph(X: NDArray[np.float32], labels: NDArray[Any], reference: pd.DataFrame) -> float:
    """Return the weighted correlation of distances with `reference`, −1 to 1, mean over types.

    Near types weigh more: the weight is one over their distance in the reference.
    """
    there = np.isin(labels, reference.columns)
    own = _distances(X[there], labels[there])
    found = [_weighted(own[name], reference[name]) for name in own.columns]
    known = [r for r in found if np.isfinite(r)]
    return float(np.mean(known)) if known else float("nan")


def _distances(X: NDArray[Any], labels: NDArray[Any]) -> pd.DataFrame:
    """Return distances of the trimmed means of types, each column relative to its largest."""
    types = sorted(set(labels))
    centers = np.array([trim_mean(X[labels == t], _TRIMMED, axis=0) for t in types])
    table = pd.DataFrame(cdist(centers, centers), types, types)
    return table / table.max(axis=0)


def _weighted(x: pd.Series, y: pd.Series) -> float:
    """Correlate the distances of one type; pairs of types that share no batch do not count."""
    pairs = pd.concat([x, y], axis=1).dropna().to_numpy()
    pairs = pairs[pairs[:, 1] > 0]
    if len(pairs) < 2:
        return float("nan")
    cov = np.cov(pairs.T, aweights=1 / pairs[:, 1], ddof=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]))
