from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from anndata import AnnData


@pytest.mark.parametrize("batch_key", [None, "batch"])
def test_a_pca_keeps_distances_of_types_and_noise_does_not(
    pbmc: AnnData, scripts: dict[str, ModuleType], batch_key: str | None
) -> None:
    pytest.importorskip("scgraph", reason="scgraph-eval comes with the extra `benchmarks`")
    pbmc.obs["cell_type"] = pbmc.obs["bulk_labels"]
    logged = np.log1p(pbmc.X / pbmc.X.sum(axis=1, keepdims=True) * 1e4)
    u, s, _ = np.linalg.svd(logged - logged.mean(axis=0), full_matrices=False)
    spaces = {"pca": u[:, :20] * s[:20], "noise": np.random.default_rng(0).normal(size=(700, 20))}
    found = scripts["_scgraph"].scgraph(pbmc, spaces, batch_key)
    assert found["pca"] > 0.8 > 0.5 > found["noise"]
