"""How well cell types are told from vectors of full, thinned and cut cells.

A regression is taught on full cells and asked about other cells of the set, full or degraded:
thinned to a number of counts, or cut to the genes that vary most in the set (an assay of a panel).
"""

from __future__ import annotations

from collections.abc import Callable

import anndata as ad
import numpy as np
import scanpy as sc
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import genemamba as gm

DEPTHS, PANELS = (1_000, 500), (1_000, 300)
FEWEST = 8  # cells of a type that is judged
Embed = Callable[[ad.AnnData], np.ndarray]


def judged(adata: ad.AnnData, n_cells: int) -> ad.AnnData:
    """Take at most so many cells, drawn at random, of the types that then have a few."""
    if adata.n_obs > n_cells:
        cells = np.random.default_rng(0).choice(adata.n_obs, n_cells, replace=False)
        adata = adata[np.sort(cells)]
    types = adata.obs["cell_type"].astype(str)
    number = types.map(types.value_counts())
    adata = adata[(number >= FEWEST).to_numpy()].copy()
    adata.X = sparse.csr_matrix(adata.X)
    return adata


def thinned(adata: ad.AnnData, depth: int) -> ad.AnnData:
    """Keep so many counts of each cell, drawn at random; all of a cell that has fewer."""
    out, rng = adata.copy(), np.random.default_rng(0)
    counts = out.X.astype(np.float64)
    share = np.minimum(1, depth / np.maximum(counts.sum(axis=1).A1, 1))
    whole = np.rint(counts.data).astype(np.int64)
    counts.data = rng.binomial(whole, np.repeat(share, np.diff(counts.indptr))).astype(float)
    counts.eliminate_zeros()
    out.X = counts.astype(np.float32)
    return out


def cut(adata: ad.AnnData, n_genes: int) -> ad.AnnData:
    """Keep the genes that vary most."""
    logged = logged_counts(adata)
    sc.pp.highly_variable_genes(logged, n_top_genes=min(n_genes, logged.n_vars))
    return adata[:, logged.var["highly_variable"].to_numpy()].copy()


def degraded(adata: ad.AnnData) -> dict[str, ad.AnnData]:
    """Return the cells at every depth and on every panel."""
    found = {f"{depth} counts": thinned(adata, depth) for depth in DEPTHS}
    return found | {f"{n} genes": cut(adata, n) for n in PANELS}


def logged_counts(adata: ad.AnnData) -> ad.AnnData:
    """Return log1p of counts per 10,000."""
    logged = ad.AnnData(adata.X.astype(np.float32), var=adata.var[[]])
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    return logged


def score(adata: ad.AnnData, embed: Embed, *, robust: bool = True) -> dict[str, float]:
    """Return macro-F1 and AvgBIO of full cells, and the share of macro-F1 that degraded ones keep.

    ``embed`` gives the vectors of cells; it is called with the full ones first.
    """
    types = adata.obs["cell_type"].astype(str).to_numpy()
    full = embed(adata)
    others = {name: embed(cells) for name, cells in degraded(adata).items()} if robust else {}
    said = {name: np.empty(len(types), dtype=object) for name in ("full", *others)}
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(full, types):
        regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=400))
        regression.fit(full[train], types[train])
        for name, vectors in {"full": full, **others}.items():
            said[name][test] = regression.predict(vectors[test])
    f1 = {name: f1_score(types, own.astype(str), average="macro") for name, own in said.items()}
    found = {"f1": f1["full"], "avg_bio": gm.metrics.avg_bio(full, types)}
    found |= {name: f1[name] / f1["full"] for name in others}
    return {name: round(float(value), 4) for name, value in found.items()}


def model_vectors(model: str) -> Embed:
    """Embed with a checkpoint; a cell without known genes is at 0."""

    def embed(adata: ad.AnnData) -> np.ndarray:
        own = gm.tl.embed(adata, model=model, copy=True)
        return np.nan_to_num(own.obsm["X_genemamba"])

    return embed


class Expression:
    """log1p of counts per 10,000 of the 2,000 genes that vary most, or their 50 components.

    Genes and components are those of the first cells; a gene that is not there is 0.
    """

    def __init__(self, n_components: int = 0) -> None:
        self.n_components, self.genes = n_components, None

    def __call__(self, adata: ad.AnnData) -> np.ndarray:
        """Return the vectors of cells."""
        logged = logged_counts(adata)
        if self.genes is None:
            sc.pp.highly_variable_genes(logged, n_top_genes=min(2_000, logged.n_vars))
            self.genes = logged.var_names[logged.var["highly_variable"]]
        column = logged.var_names.get_indexer(self.genes)
        values = logged.X[:, np.maximum(column, 0)].toarray() * (column >= 0)
        if not self.n_components:
            return values
        if not hasattr(self, "components"):
            self.mean = values.mean(axis=0)
            _, _, turned = np.linalg.svd(values - self.mean, full_matrices=False)
            self.components = turned[: self.n_components].T
        return (values - self.mean) @ self.components


BASELINES: dict[str, Callable[[], Embed]] = {
    "PCA-50": lambda: Expression(50),
    "log-expression": Expression,
}
