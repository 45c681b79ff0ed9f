from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData

import genemamba as gm


@pytest.fixture(scope="session")
def embedded(_pbmc: AnnData) -> AnnData:
    """Real cells with their embedding, which takes a while to make."""
    return gm.tl.embed(_pbmc, copy=True)


@pytest.fixture
def halves(embedded: AnnData) -> tuple[AnnData, AnnData]:
    """Cells with labels, and others."""
    order = np.random.default_rng(0).permutation(embedded.n_obs)
    return embedded[order[:450]].copy(), embedded[order[450:]].copy()
