from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from genemamba.datasets import Corpus, build_corpus
from genemamba.train.recipe import Recipe

SIZES = {"d_model": 32, "n_layers": 1, "d_state": 8, "headdim": 16, "chunk_size": 16,
         "merge": "mean", "pre_norm": True, "tie_embeddings": True}  # fmt: skip


@pytest.fixture
def corpus(pbmc: AnnData, tmp_path: Path) -> Corpus:
    """Real cells as a corpus of two libraries."""
    return make_corpus(pbmc, tmp_path)


@pytest.fixture
def new_corpus() -> Callable[[AnnData, Path], Corpus]:
    """Make corpora of other cells, in other folders."""
    return make_corpus


@pytest.fixture
def labelled(pbmc: AnnData, tmp_path: Path) -> Corpus:
    """Cells of two libraries and profiles of a third; NK cells are in one library only."""
    folder = tmp_path / "labelled"
    folder.mkdir()
    ids = [f"ENSG{i:011d}" for i in range(pbmc.n_vars)]
    pd.DataFrame({"id": ids, "name": pbmc.var_names}).to_csv(
        folder / "names.csv", header=False, index=False
    )
    pbmc.obs["sample"] = pbmc.obs["batch"]
    kind = np.arange(pbmc.n_obs) // 2 % 4
    pbmc.obs["cell_type"] = np.array(["T", "B", "", "NK"])[kind]
    pbmc.obs.loc[(pbmc.obs["sample"] == "b") & (pbmc.obs["cell_type"] == "NK"), "cell_type"] = "B"
    pbmc.write_h5ad(folder / "cells.h5ad")
    rng = np.random.default_rng(0)
    profiles = AnnData(rng.gamma(0.5, 100.0, (3, pbmc.n_vars)), var=pbmc.var[[]])
    profiles.obs["table"], profiles.obs["cell_type"] = "table", ["T", "B", "?"]
    profiles.write_h5ad(folder / "types.h5ad")
    rows = [
        ("table", "T", "CL:0000084"),
        ("table", "B", "CL:0000236"),
        ("cells", "T", "CL:0000084"),
        ("cells", "B", "CL:0000236"),
        ("cells", "NK", "CL:0000623"),
    ]
    pd.DataFrame(rows, columns=["file", "label", "cl_id"]).to_csv(folder / "l.csv", index=False)
    return build_corpus(
        [folder / "cells.h5ad"], folder / "corpus", gene_names=folder / "names.csv",
        labels=folder / "l.csv", profiles=[folder / "types.h5ad"], min_genes=1, min_cells=1,
    )  # fmt: skip


def make_corpus(pbmc: AnnData, folder: Path) -> Corpus:
    folder.mkdir(exist_ok=True)
    ids = [f"ENSG{i:011d}" for i in range(pbmc.n_vars)]
    names = folder / "names.csv"
    pd.DataFrame({"id": ids, "name": pbmc.var_names}).to_csv(names, header=False, index=False)
    pbmc.obs["sample"] = pbmc.obs["batch"]
    pbmc.write_h5ad(folder / "cells.h5ad")
    return build_corpus(
        [folder / "cells.h5ad"], folder / "corpus", gene_names=names, min_genes=1, min_cells=1
    )


@pytest.fixture
def new_recipe() -> Callable[..., Recipe]:
    """Make recipes of a few steps of a tiny model; sections are given by name."""
    return make_recipe


def make_recipe(**sections: dict[str, Any]) -> Recipe:
    given: dict[str, dict[str, Any]] = {
        "model": SIZES,
        "data": {"cells": 16, "length": 48, "held_out_share": 0.15},
        "optimiser": {"learning_rate": 3e-3, "steps": 6},
        "run": {"compile": False, "save_every": 3, "check_every": 3},
    }
    for name, values in sections.items():
        given[name] = given.get(name, {}) | values
    return Recipe.from_dict(given)
