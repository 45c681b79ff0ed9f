"""Dask: the workers of a cluster give what one process gives, and may die."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import cloudpickle
import dask.array as da
import numpy as np
import pytest
from anndata import AnnData
from distributed import Client, LocalCluster
from scipy import sparse

import genemamba as gm
from genemamba.cells import blocks, cluster, counts
from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.network.runtime import Runtime
from genemamba.tl import _embedding


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as local, Client(local) as client:
        yield client


@pytest.fixture
def cells(pbmc: AnnData, monkeypatch: pytest.MonkeyPatch) -> AnnData:
    for module in (counts, cluster, blocks):
        monkeypatch.setattr(module, "BLOCK", 64)
    pbmc.X = da.from_array(sparse.csr_matrix(pbmc.X), chunks=(150, -1))
    return pbmc


def in_memory(cells: AnnData) -> AnnData:
    adata = cells.copy()
    adata.X = cells.X.compute(scheduler="synchronous")
    return adata


def test_embed_is_the_same_as_in_one_process(
    client: Client, cells: AnnData, small_model: GeneMamba, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"model": small_model, "device": "cpu", "precision": "float32"}
    one = in_memory(cells)
    gm.tl.embed(one, **how)
    gm.tl.embed(cells, **how)
    np.testing.assert_allclose(cells.obsm["X_genemamba"], one.obsm["X_genemamba"], atol=1e-5)
    gm.tl.embed(cells, **how, out=tmp_path / "out.zarr")
    stored = ad.read_zarr(tmp_path / "out.zarr").obsm["X_genemamba"]
    np.testing.assert_array_equal(stored, cells.obsm["X_genemamba"])


def test_tokens_and_medians_too(
    client: Client, cells: AnnData, small_model: GeneMamba, tmp_path: Path
) -> None:
    one = in_memory(cells)
    for adata in (one, cells):
        gm.pp.rank_tokenize(adata, model=small_model)
        gm.pp.gene_medians(adata)
    tokens = [a.obsm["genemamba_tokens"].toarray() for a in (one, cells)]
    np.testing.assert_array_equal(*tokens)
    np.testing.assert_allclose(one.var["genemamba_median"], cells.var["genemamba_median"])
    gm.pp.rank_tokenize(cells, model=small_model, out=tmp_path / "out.zarr")
    stored = ad.read_zarr(tmp_path / "out.zarr").obsm["genemamba_tokens"]
    np.testing.assert_array_equal(stored, tokens[0])


cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests


class DieOnce:
    """Kills its worker at block `at`, the first time."""

    def __init__(self, at: int, flag: Path) -> None:
        self.at, self.flag, self.n = at, flag, 0

    def __call__(self, block: Any) -> tuple[np.ndarray, dict[str, Any]]:
        total = np.asarray(block.sum(axis=1)).astype(np.float64)
        if total[0, 0] == self.at and not self.flag.exists():
            self.flag.touch()
            os._exit(9)
        return total, {}


def test_a_dead_worker_loses_nothing(client: Client, cells: AnnData, tmp_path: Path) -> None:
    found = counts.count(cells.X, cells.var, where="X")
    true = np.asarray(in_memory(cells).X.sum(axis=1), dtype=np.float64)
    flag = tmp_path / "died"
    array = blocks.Array(700, 1, np.float64)
    blocks.fill(found, DieOnce(int(true[320, 0]), flag), array, doing="sum")
    assert flag.exists()
    assert sorted(array.done) == list(range(0, 700, 64))
    np.testing.assert_array_equal(array.rows, true)


def test_workers_that_die_after_a_rest_lose_nothing(client: Client, cells: AnnData) -> None:
    """Within seconds a cluster keeps a single copy of what it was sent."""
    found = counts.count(cells.X, cells.var, where="X")
    true = np.asarray(in_memory(cells).X.sum(axis=1), dtype=np.float64)
    client.wait_for_workers(2)
    results = cluster.mapped(client, found, DieOnce(-1, Path("x")), found.starts)
    done = dict([next(results)])
    time.sleep(5)
    for pid in client.run(os.getpid).values():
        os.kill(pid, signal.SIGKILL)
    done |= dict(results)
    assert list(done) == list(range(0, 700, 64))
    np.testing.assert_array_equal(np.concatenate([total for total, _ in done.values()]), true)


def test_a_large_step_is_sent_without_a_warning(client: Client, cells: AnnData) -> None:
    found = counts.count(cells.X, cells.var, where="X")
    step = DieOnce(-1, Path("x"))
    step.weights = np.zeros(30 * 2**20, dtype=np.uint8)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(cluster.mapped(client, found, step, found.starts))) == 11


def test_what_a_worker_refuses_is_said_here(client: Client, cells: AnnData) -> None:
    bad = cells.X.compute(scheduler="synchronous").astype(np.float32)
    bad[650, 3] = -1
    cells.X = da.from_array(bad, chunks=(150, -1))
    found = counts.count(cells.X[:100], cells.var, where="X")
    whole = counts.Counts(cells.X, cells.var, found.values, "X")
    with pytest.raises(InputError, match="negative"):
        list(cluster.mapped(client, whole, DieOnce(-1, Path("x")), whole.starts))


def test_workers_have_to_agree(
    client: Client,
    cells: AnnData,
    small_model: GeneMamba,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    first = tmp_path / "first"
    client.wait_for_workers(2)

    def by_worker(*_: object) -> Runtime:
        try:
            first.touch(exist_ok=False)
        except FileExistsError:
            return Runtime("cpu", "float32")
        return Runtime("cpu", "bfloat16")

    monkeypatch.setattr(_embedding, "choose_runtime", by_worker)
    with pytest.raises(InputError, match=r"cpu in bfloat16 .*, cpu in float32"):
        gm.tl.embed(cells, model=small_model)


def test_without_a_client_it_runs_here(cells: AnnData, small_model: GeneMamba) -> None:
    assert cluster.client_for(counts.count(in_memory(cells).X, cells.var, where="X")) is None
