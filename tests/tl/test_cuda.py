"""Tools on a GPU next to the CPU; skipped without one (`benchmarks/gpu_check.sh`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData

import genemamba as gm

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
GPU = "cuda"
RECIPE = {
    "model": {"d_model": 64, "n_layers": 2, "d_state": 16, "headdim": 32},
    "data": {"cells": 16, "length": 96},
    "optimiser": {"steps": 6},
    "run": {"compile": False},
}


def vectors(cells: AnnData, **running: Any) -> np.ndarray:
    gm.tl.embed(cells, **running)
    return cells.obsm["X_genemamba"]


@pytest.fixture
def cells(pbmc: AnnData) -> AnnData:
    return pbmc[:60].copy()


@pytest.fixture(scope="module")
def on_cpu(_pbmc: AnnData) -> np.ndarray:
    return vectors(_pbmc[:60].copy(), device="cpu", precision="float32", backend="torch")


@pytest.mark.parametrize("device", [GPU, f"{GPU}:0"])
@pytest.mark.parametrize("batch_size", ["auto", 7, 512])
@pytest.mark.parametrize(("precision", "most"), [("float32", 1e-4), ("bfloat16", 2e-2)])
def test_vectors_are_those_of_the_cpu(
    cells: AnnData, on_cpu: np.ndarray, device: str, batch_size: Any, precision: Any, most: float
) -> None:
    found = vectors(cells, device=device, precision=precision, batch_size=batch_size)
    assert cells.uns["genemamba"]["X_genemamba"]["device"] == device
    far = np.linalg.norm(found - on_cpu, axis=1) / np.linalg.norm(on_cpu, axis=1)
    assert far.max() < most


def test_attribution_is_that_of_the_cpu(cells: AnnData) -> None:
    cells, found = cells[:20].copy(), []
    for device in ("cpu", GPU):
        gm.tl.attribute(cells, target="B cell", steps=4, device=device)
        found.append(cells.layers["genemamba_attribution"].toarray())
    assert np.linalg.norm(found[1] - found[0]) < 1e-3 * np.linalg.norm(found[0])


@pytest.mark.parametrize("tune", ["all", "lora", "head"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_fine_tuning_names_cells(pbmc: AnnData, tune: str, precision: Any) -> None:
    common = pbmc.obs["bulk_labels"].value_counts().index[:4]
    pbmc = pbmc[pbmc.obs["bulk_labels"].isin(common)].copy()
    order = np.random.default_rng(0).permutation(pbmc.n_obs)
    reference, query = pbmc[order[:300]].copy(), pbmc[order[300:400]].copy()
    recipe = {"tune": tune, "epochs": 2, "head_epochs": 10, "cells": 32, "length": 200}
    gm.tl.annotate(
        query, reference=reference, label_key="bulk_labels", method="finetune", recipe=recipe,
        device=GPU, precision=precision, unknown=False,
    )  # fmt: skip
    right = query.obs["genemamba_label"].astype(str) == query.obs["bulk_labels"].astype(str)
    assert right.mean() > 0.7


def test_pretraining_resumes(
    write_corpus: Callable[[AnnData, Path], Path], pbmc: AnnData, cells: AnnData, tmp_path: Path
) -> None:
    corpus = write_corpus(pbmc, tmp_path)
    for stop_after in (0, None):
        gm.tl.pretrain(
            corpus, tmp_path / "run", recipe=RECIPE, accelerator=GPU, stop_after=stop_after
        )
    assert np.isfinite(vectors(cells, model=tmp_path / "run", device=GPU)).all()


def test_adapting_trains(pbmc: AnnData, cells: AnnData, tmp_path: Path) -> None:
    adapted = gm.tl.adapt(pbmc[:300].copy(), out=tmp_path / "adapted", steps=3, device=GPU)
    assert np.isfinite(vectors(cells, model=adapted, device=GPU)).all()
