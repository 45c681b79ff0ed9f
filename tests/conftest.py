"""Cells and models small enough for every test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

# read on import; the cores are busy with a process each
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import torch
from anndata import AnnData

import genemamba as gm
from genemamba.maps.reference_map import ReferenceMap
from genemamba.network import GeneMamba, GeneMambaConfig
from genemamba.tokens import Vocabulary

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True, scope="session")
def _float32() -> Iterator[None]:
    """Compare in float32, on processors that would choose bfloat16, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genemamba.network.runtime.bfloat16_unit", lambda device: "")
        yield


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Find the test that leaves more threads than there were: all later ones would be slower."""
    before = torch.get_num_threads()
    yield
    left = torch.get_num_threads()
    torch.set_num_threads(before)
    assert left == before


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data beside the checkout; the test is skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def write_corpus() -> Callable[[AnnData, Path], Path]:
    """Build a corpus of all cells and genes in a folder; return where it is."""

    def write(adata: AnnData, folder: Path) -> Path:
        names = [f"ENSG{i:011d},{name}" for i, name in enumerate(adata.var_names)]
        (folder / "names.csv").write_text("\n".join(names))
        adata.write_h5ad(folder / "cells.h5ad")
        gm.datasets.build_corpus(
            [folder / "cells.h5ad"], folder / "corpus", gene_names=folder / "names.csv",
            min_genes=1, min_cells=1,
        )  # fmt: skip
        return folder / "corpus"

    return write


@pytest.fixture(scope="session")
def _pbmc() -> AnnData:
    reduced = sc.datasets.pbmc68k_reduced()
    # undo log1p and the size factor: the smallest entry of a cell is one count
    x = np.expm1(reduced.raw.X.toarray().astype(np.float64))
    smallest = np.where(x > 0, x, np.inf).min(axis=1, keepdims=True)
    counts = np.rint(x / smallest).astype(np.int32)
    obs = reduced.obs[["bulk_labels"]].assign(batch=np.where(np.arange(700) % 2, "b", "a"))
    return AnnData(counts, obs=obs, var=pd.DataFrame(index=reduced.raw.var_names))


@pytest.fixture
def pbmc(_pbmc: AnnData) -> AnnData:
    """Real cells, 700 × 765, int32 counts recovered from scanpy's pbmc68k_reduced."""
    return _pbmc.copy()


@pytest.fixture
def small_model(pbmc: AnnData) -> GeneMamba:
    """Untrained model on the genes of `pbmc`, with [CLS] and [MASK]."""
    return make_model(pbmc.var_names)


@pytest.fixture
def files(tmp_path: Path, pbmc: AnnData, small_model: GeneMamba) -> Path:
    """A folder with cells, in.h5ad, and a model."""
    small_model.save_pretrained(tmp_path / "model")
    pbmc.write_h5ad(tmp_path / "in.h5ad")
    return tmp_path


def scatter(neighbours: np.ndarray, distance: np.ndarray, seed: int) -> np.ndarray:
    """Lay cells out at random, for UMAP compiles for twenty seconds."""
    return np.random.default_rng(seed).normal(size=(len(neighbours), 2)).astype(np.float32)


@pytest.fixture
def no_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay cells of maps out at random."""
    monkeypatch.setattr("genemamba.maps.build.lay_out", scatter)


@pytest.fixture(scope="session")
def small_map(_pbmc: AnnData, tmp_path_factory: pytest.TempPathFactory) -> ReferenceMap:
    """Map of every second cell of `pbmc`, by `small_model`, laid out at random."""
    cells = _pbmc[::2].copy()
    cells.obs["batch"] = np.where(np.arange(350) % 2, "b", "a")
    cells.obs["depth"] = cells.X.sum(axis=1) / 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genemamba.maps.build.lay_out", scatter)
        return gm.tl.build_map(
            cells, out=tmp_path_factory.mktemp("maps") / "blood", batch_key="batch",
            label_key="bulk_labels", keep=["batch", "depth"], model=make_model(_pbmc.var_names),
        )  # fmt: skip


@pytest.fixture(scope="session")
def new_model() -> Callable[..., GeneMamba]:
    """Make untrained models of other genes or settings."""
    return make_model


def make_model(
    symbols: Sequence[str], extra: tuple[str, ...] = ("[CLS]", "[MASK]"), **settings: object
) -> GeneMamba:
    """Make an untrained model of a few thousand weights that knows these symbols."""
    n = len(symbols)
    vocab = Vocabulary(
        ensembl_id=np.array([f"ENSG{i:011d}" for i in range(n)]),
        symbol=np.asarray(symbols, dtype=str),
        median=np.random.default_rng(0).uniform(0.5, 5.0, n),
        alias=np.full(n, ""),
        extra=extra,
    )
    sizes = {"d_model": 32, "n_layers": 2, "d_state": 8, "headdim": 16, "chunk_size": 16,
             "merge": "mean"} | settings  # fmt: skip
    model = GeneMamba(GeneMambaConfig(vocab_size=len(vocab), **sizes)).reset_parameters(0)
    model.vocab = vocab
    return model.eval()
