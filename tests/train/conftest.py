from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

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
