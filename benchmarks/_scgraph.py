"""scGraph: do types lie as far from each other in an embedding as they do in each batch?

Of the package scgraph-eval (Wang, Leskovec & Regev 2024). In every batch of 100 cells or more it
takes 10 principal components of 1,000 variable genes, the distances between types there, and their
mean over batches; the score is the weighted correlation of an embedding's distances with these. A
set without batches is one batch: then its reference is one PCA of the cells scored, which favours
PCA.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from genemamba.cells.expression import read_expression

FEWEST = 100  # cells of a batch that scGraph looks at


def scgraph(
    adata: ad.AnnData, spaces: Mapping[str, np.ndarray], batch_key: str | None
) -> dict[str, float]:
    """Return the score (Corr-Weighted) of every embedding of the same cells."""
    from scgraph import scGraph

    cells = ad.AnnData(read_expression(adata, None))
    cells.obs_names, cells.var_names = adata.obs_names, adata.var_names
    batch = adata.obs[batch_key].astype(str) if batch_key else pd.Series("all", adata.obs_names)
    if batch.value_counts().max() < FEWEST:
        batch[:] = "all"
    cells.obs = pd.DataFrame({"batch": batch, "type": adata.obs["cell_type"].astype(str)})
    cells.obsm.update(spaces)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cells.h5ad"
        cells.write_h5ad(file)
        judge = scGraph(file, "batch", "type", only_umap=False, thres_batch=min(FEWEST, len(batch)))
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            table = judge.main(list(spaces))
    return table["Corr-Weighted"].astype(float).to_dict()
