"""Log-normalised expression of cells, and its highly variable genes."""

from __future__ import annotations

import numpy as np
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from genemamba._expression import log_normalised
from genemamba._machine import same_threads
from genemamba.cells.read import read_counts

N_HVG = 2000


def read_expression(adata: AnnData, layer: str | None) -> sparse.csr_matrix:
    """Return log1p of counts per 10,000, all genes."""
    return log_normalised(sparse.csr_matrix(read_counts(adata, layer).whole()))


def variable_genes(logged: sparse.csr_matrix) -> np.ndarray:
    """Choose the 2,000 most variable genes (flavour "seurat"); all, if there are no more."""
    if logged.shape[1] <= N_HVG:
        return np.arange(logged.shape[1])
    work = AnnData(logged)
    with same_threads():
        sc.pp.highly_variable_genes(work, flavor="seurat", n_top_genes=N_HVG)
    return np.flatnonzero(work.var["highly_variable"])
