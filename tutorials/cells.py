"""The cells of the tutorials, as raw counts: real blood cells, and cells drawn from averages.

`profiles.h5ad` holds the average expression of published cell types; `uns` and `obs` say whose.
"""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from scipy.sparse import csr_matrix

PROFILES = Path(__file__).with_name("profiles.h5ad")


def blood() -> ad.AnnData:
    """Load 700 real blood cells × 765 genes that ship with scanpy.

    Scanpy stores them as log1p of counts that were scaled cell by cell. After the log is undone,
    the smallest value of a cell is one count, and the others are whole multiples of it.
    """
    stored = sc.datasets.pbmc68k_reduced()
    scaled = np.expm1(stored.raw.X.toarray().astype(float))
    counts = scaled / np.where(scaled > 0, scaled, np.inf).min(axis=1, keepdims=True)
    assert np.abs(counts - counts.round()).max() < 0.2
    obs = stored.obs[["bulk_labels"]].rename(columns={"bulk_labels": "cell_type"})
    var = pd.DataFrame(index=stored.raw.var_names)
    return ad.AnnData(csr_matrix(counts.round(), dtype=np.float32), obs, var)


def drawn(tissue: str, n_cells: int = 600, *, seed: int = 0) -> ad.AnnData:
    """Draw cells from average profiles: "blood", "blood, another study", "lung", "mouse lung".

    Raw counts, and each cell's type in `obs["cell_type"]`. Each cell has 2,000 to 10,000 counts of
    one profile, with gamma noise on every gene and 5 % of the tissue's mean as ambient RNA.
    Frequent and rare types differ fivefold.
    """
    table = ad.read_h5ad(PROFILES)
    table = table[table.obs["tissue"] == tissue, table.var["mouse"] == (tissue == "mouse lung")]
    mean = np.exp2(table.X.toarray().astype(float) / table.uns["steps"]) - 1

    rng = np.random.default_rng(seed)
    frequency = rng.permutation(np.geomspace(1, 5, table.n_obs))
    kind = np.sort(rng.choice(table.n_obs, n_cells, p=frequency / frequency.sum()))
    rate = 0.95 * mean[kind] + 0.05 * mean.mean(axis=0)
    rate *= rng.gamma(1.5, size=rate.shape)
    depth = np.exp(rng.uniform(np.log(2_000), np.log(10_000), (n_cells, 1)))
    counts = rng.poisson(depth * rate / rate.sum(axis=1, keepdims=True))

    names = [f"{tissue} {number}" for number in range(n_cells)]
    types = pd.Categorical(table.obs["cell_type"].astype(str).iloc[kind])
    obs = pd.DataFrame({"cell_type": types}, index=names)
    var = pd.DataFrame(index=table.var_names)
    return ad.AnnData(csr_matrix(counts, dtype=np.float32), obs, var)
