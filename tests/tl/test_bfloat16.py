"""From counts to neighbours and labels in bfloat16, which other tests switch off: see conftest."""

from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData

import genemamba as gm
from genemamba.network import inference, runtime

pytestmark = pytest.mark.filterwarnings("ignore:fewer than 5 labelled cells")


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the processor prefer bfloat16; the precisions that models are placed in."""
    used: list[str] = []
    placed = inference.placed

    def spy(model: object, where: runtime.Runtime) -> object:
        used.append(where.precision)
        return placed(model, where)

    monkeypatch.setattr(runtime, "bfloat16_unit", lambda device: "the processor's AMX")
    monkeypatch.setattr(inference, "placed", spy)
    return used


@pytest.mark.usefixtures("half")
def test_embed_and_neighbours(pbmc: AnnData) -> None:
    cells = pbmc[:120].copy()
    gm.tl.embed(cells)
    gm.tl.embed(cells, precision="float32", key_added="X_full")
    assert cells.uns["genemamba"]["X_genemamba"]["precision"] == "bfloat16"
    vectors, full = cells.obsm["X_genemamba"], cells.obsm["X_full"]
    assert vectors.dtype == np.float32
    away = np.linalg.norm(vectors - full, axis=1) / np.linalg.norm(full, axis=1)
    assert 0 < away.max() < 0.02  # as the docstring of embed promises
    graphs = []
    for key in ("X_genemamba", "X_full"):
        sc.pp.neighbors(cells, use_rep=key, n_neighbors=16)
        graphs.append(cells.obsp["distances"].toarray() > 0)
    assert (graphs[0] & graphs[1]).sum() > 0.95 * graphs[1].sum()


@pytest.mark.parametrize("method", ["probe", "knn"])
def test_annotate(pbmc: AnnData, half: list[str], method: str) -> None:
    order = np.random.default_rng(0).permutation(pbmc.n_obs)
    reference, query = pbmc[order[:180]].copy(), pbmc[order[180:260]].copy()
    options = {"reference": reference, "label_key": "bulk_labels", "method": method}
    gm.tl.annotate(query, **options)
    assert half and set(half) == {"bfloat16"}
    named = query.obs["genemamba_label"].astype(str)
    truth = query.obs["bulk_labels"].astype(str)
    assert (named == truth).mean() > 0.55
    assert np.isfinite(query.obsm["genemamba_proba"]).all(axis=None)


def test_what_is_measured_finely_stays_in_float32(pbmc: AnnData, half: list[str]) -> None:
    cells = pbmc[:12].copy()
    gm.tl.perturb(cells, "CD3D", n_controls=2, control_cells=3)
    assert half and set(half) == {"float32"}
