from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData


class Cells(NamedTuple):
    X: np.ndarray
    labels: np.ndarray
    batch: np.ndarray


def make_cells(separation: float, shift: float) -> Cells:
    """Return five cell types and three batches in 12 dimensions, unit noise."""
    # One seed: group sizes that differ would make JAX compile for every case.
    rng = np.random.default_rng(0)
    types, batches = rng.integers(0, 5, 240), rng.integers(0, 3, 240)
    X = rng.normal(size=(240, 12))
    X += separation * rng.normal(size=(5, 12))[types] + shift * rng.normal(size=(3, 12))[batches]
    names = np.array(["B", "NK", "T", "mono", "DC"])
    return Cells(X.astype(np.float32), names[types], np.array(["x", "y", "z"])[batches])


def real_cells() -> Cells:
    """Return blood cells in 12 principal components; cell cycle phases stand for batches."""
    adata = sc.datasets.pbmc68k_reduced()
    kept = np.random.default_rng(0).choice(adata.n_obs, 240, replace=False)
    obs = adata.obs.iloc[kept]
    return Cells(
        adata.obsm["X_pca"][kept, :12].astype(np.float32),
        obs["bulk_labels"].to_numpy(str),
        obs["phase"].to_numpy(str),
    )


CASES = {
    "real": real_cells(),
    "noise": make_cells(0, 0),
    "overlapping": make_cells(0.8, 0.5),
    "separated": make_cells(3, 0),
    "batch-ridden": make_cells(3, 3),
}


@pytest.fixture(params=CASES, ids=list(CASES))
def cells(request: pytest.FixtureRequest) -> Cells:
    return CASES[request.param]


@pytest.fixture
def separated() -> Cells:
    return CASES["separated"]


@pytest.fixture
def table(separated: Cells) -> AnnData:
    """`separated` as an AnnData."""
    adata = AnnData(obsm={"X_genemamba": separated.X, "X_other": separated.X[:, :5]})
    adata.obs["cell_type"] = separated.labels
    adata.obs["batch"] = separated.batch
    return adata


@pytest.fixture
def perfect() -> Cells:
    """Cell types are points far apart; batches say nothing."""
    return make_cells(1000, 0)
