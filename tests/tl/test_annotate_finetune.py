"""gm.tl.annotate(method="finetune"), with a small model; the engine has tests of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import InputError
from genemamba.network import GeneMamba

QUICK = {"epochs": 3, "head_epochs": 30, "cells": 32, "length": 200}
pytestmark = pytest.mark.filterwarnings("ignore:fewer than 5 labelled cells")


@pytest.fixture
def halves(pbmc: AnnData) -> tuple[AnnData, AnnData]:
    """Cells with labels, and others, of the four commonest types."""
    common = pbmc.obs["bulk_labels"].value_counts().index[:4]
    pbmc = pbmc[pbmc.obs["bulk_labels"].isin(common)].copy()
    order = np.random.default_rng(0).permutation(pbmc.n_obs)
    return pbmc[order[:300]].copy(), pbmc[order[300:360]].copy()


@pytest.mark.parametrize("tune", ["all", "lora", "head"])
def test_it_names_cells_and_can_be_kept(
    halves: tuple[AnnData, AnnData], small_model: GeneMamba, tune: str, tmp_path: Path
) -> None:
    reference, query = halves
    before = {k: v.clone() for k, v in small_model.state_dict().items()}
    gm.tl.annotate(
        query, reference=reference, label_key="bulk_labels", method="finetune", coverage=0.9,
        model=small_model, recipe=QUICK | {"tune": tune}, folder=tmp_path / "t",
    )  # fmt: skip
    record = query.uns["genemamba"]["annotate"]
    assert record["method"] == "finetune"
    assert 20 < record["held_out_cells"] < 150  # the validation part alone is judged
    best = record["classes"][query.obsm["genemamba_proba"].argmax(axis=1)]
    guessing = reference.obs["bulk_labels"].value_counts(normalize=True).max()
    assert (best == query.obs["bulk_labels"].to_numpy(str)).mean() > guessing + 0.1
    for name, weight in small_model.state_dict().items():
        assert (weight == before[name]).all()  # the caller's model stays as it is
    again = AnnData(query.X, obs=query.obs[["bulk_labels"]], var=query.var)
    gm.tl.annotate(again, reference=tmp_path / "t", model=small_model)
    np.testing.assert_allclose(
        again.obsm["genemamba_proba"], query.obsm["genemamba_proba"], atol=1e-5
    )


def test_settings_are_checked(halves: tuple[AnnData, AnnData], small_model: GeneMamba) -> None:
    reference, query = halves
    for recipe, message in (({"layers": 2}, "unknown settings: 'layers'"), ({"epochs": 0}, "0")):
        with pytest.raises(InputError, match=message):
            gm.tl.annotate(
                query, reference=reference, label_key="bulk_labels", method="finetune",
                model=small_model, recipe=recipe,
            )  # fmt: skip
    with pytest.raises(InputError, match=r"recipe=.* needs method="):
        gm.tl.annotate(query, reference=reference, label_key="bulk_labels", recipe=QUICK)
    assert not query.obsm and not query.uns


CALL = """
import sys, anndata as ad, genemamba as gm
folder, out = sys.argv[1:]
reference, query = (ad.read_h5ad(f"{folder}/{name}.h5ad") for name in ("reference", "query"))
gm.tl.annotate(
    query, reference=reference, label_key="bulk_labels", method="finetune", folder=out,
    model=f"{folder}/model", unknown=False, precision="float32",
    recipe={"epochs": 6, "patience": 6, "head_epochs": 3, "cells": 16, "length": 64},
)
query.obs.to_csv(f"{out}/labels.csv")
"""


def test_killed_and_called_again_it_ends_with_the_same_labels(
    halves: tuple[AnnData, AnnData],
    small_model: GeneMamba,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, adata in zip(("reference", "query"), halves, strict=True):
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    small_model.save_pretrained(tmp_path / "model")

    def call(out: str) -> None:
        monkeypatch.setattr("sys.argv", ["", str(tmp_path), str(tmp_path / out)])
        exec(CALL, {})

    call("unbroken")
    arguments = [sys.executable, "-W", "ignore", "-c", CALL, tmp_path, tmp_path / "broken"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    broken = subprocess.Popen(arguments, env=environment)
    state = tmp_path / "broken" / "state.pt"
    while broken.poll() is None and not state.exists():
        time.sleep(0.01)
    time.sleep(0.2)
    broken.send_signal(signal.SIGKILL)
    assert broken.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert state.exists()
    assert not (tmp_path / "broken" / "labels.json").exists()
    call("broken")
    unbroken, resumed = (pd.read_csv(tmp_path / o / "labels.csv") for o in ("unbroken", "broken"))
    pd.testing.assert_frame_equal(unbroken, resumed)
    assert ad.read_h5ad(tmp_path / "query.h5ad").n_obs == len(resumed)
