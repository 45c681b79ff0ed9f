"""Embedding into a store: streamed, stopped in every way, and resumed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import zarr
from anndata import AnnData
from filelock import FileLock
from scipy import sparse

import genemamba as gm
from genemamba.cells import blocks as streamed
from genemamba.cells import counts, store
from genemamba.errors import GeneMambaError, GeneMambaWarning, InputError
from genemamba.network import GeneMamba

FILL = """
import sys, time
import genemamba as gm
from genemamba.cells import blocks as streamed
from genemamba.cells import counts
from genemamba.tl import _embedding
counts.BLOCK = streamed.BLOCK = 64
embed = _embedding.EmbedBlock.__call__
def slowly(self, block, progress):
    time.sleep(0.3)
    return embed(self, block, progress)
_embedding.EmbedBlock.__call__ = slowly
gm.tl.embed(sys.argv[1], model=sys.argv[2], out=sys.argv[3], device="cpu", precision="float32")
"""


def tree(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture
def cells(pbmc: AnnData, tmp_path: Path) -> Path:
    pbmc.X = sparse.csr_matrix(pbmc.X)
    pbmc.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


@pytest.fixture
def model(small_model: GeneMamba, tmp_path: Path) -> Path:
    small_model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (counts, streamed):
        monkeypatch.setattr(module, "BLOCK", 64)


def test_a_store_holds_what_embed_writes(cells: Path, model: Path, tmp_path: Path) -> None:
    adata = ad.read_h5ad(cells)
    gm.tl.embed(adata, model=str(model))
    before = cells.read_bytes()
    assert gm.tl.embed(cells, model=str(model), out=tmp_path / "out.zarr") is None
    assert cells.read_bytes() == before
    assert not (tmp_path / "out.zarr.partial").exists()
    found = ad.read_zarr(tmp_path / "out.zarr")
    assert found.obs_names.tolist() == adata.obs_names.tolist()
    assert found.obsm["X_genemamba"].dtype == np.float32
    np.testing.assert_allclose(found.obsm["X_genemamba"], adata.obsm["X_genemamba"], atol=1e-5)
    one, other = (a.uns["genemamba"]["X_genemamba"] for a in (found, adata))
    assert set(one) == set(other)
    for what in set(one) - {"counts_lost", "cells_without_genes", "params", "gene_status"}:
        assert one[what] == other[what], what
    assert one["counts_lost"] == pytest.approx(other["counts_lost"])


def test_tokens_in_a_store(cells: Path, model: Path, tmp_path: Path) -> None:
    adata = ad.read_h5ad(cells)
    gm.pp.rank_tokenize(adata, model=str(model), max_tokens=300)
    gm.pp.rank_tokenize(cells, model=str(model), max_tokens=300, out=tmp_path / "out.zarr")
    tokens = ad.read_zarr(tmp_path / "out.zarr").obsm["genemamba_tokens"]
    np.testing.assert_array_equal(tokens, adata.obsm["genemamba_tokens"].toarray())


def test_cells_without_genes_are_named(pbmc: AnnData, model: Path, tmp_path: Path) -> None:
    pbmc.X[[3, 650]] = 0
    with pytest.warns(GeneMambaWarning, match="2 cells express no gene"):
        gm.tl.embed(pbmc, model=str(model), out=tmp_path / "out.zarr")
    assert "X_genemamba" not in pbmc.obsm
    found = ad.read_zarr(tmp_path / "out.zarr")
    without = found.uns["genemamba"]["X_genemamba"]["cells_without_genes"]
    assert list(without) == pbmc.obs_names[[3, 650]].tolist()
    assert np.isnan(found.obsm["X_genemamba"]).any(axis=1).nonzero()[0].tolist() == [3, 650]


def test_killed_and_resumed_it_is_the_same_byte_for_byte(
    cells: Path, model: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole.zarr", tmp_path / "broken.zarr"
    gm.tl.embed(cells, model=str(model), out=whole)
    partial = tmp_path / "broken.zarr.partial"
    command = [sys.executable, "-c", FILL, *map(str, (cells, model, broken))]
    process = subprocess.Popen(command)
    wait_for(lambda: blocks(partial) >= 5)
    process.kill()
    process.wait()
    assert 5 <= blocks(partial) < 11
    first, second, third, *_ = chunks_of(partial)
    kept = first.stat().st_mtime_ns
    # and what a kill at another moment, or a disk, could leave
    (first.parent / "0.killed.partial").write_bytes(b"half")
    with (partial / "journal.jsonl").open("a") as journal:
        journal.write('{"start": 64')
    second.write_bytes(second.read_bytes()[:-9])
    third.write_bytes(first.read_bytes())
    gm.tl.embed(cells, model=str(model), out=broken)
    assert tree(broken) == tree(whole)
    assert (broken / first.relative_to(partial / "store")).stat().st_mtime_ns == kept


def test_one_writer(cells: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "out.zarr.partial").mkdir()
    with (
        FileLock(tmp_path / "out.zarr.partial" / "lock"),
        pytest.raises(InputError, match="is being written by another process"),
    ):
        gm.tl.embed(cells, model=str(model), out=tmp_path / "out.zarr")
    gm.tl.embed(cells, model=str(model), out=tmp_path / "out.zarr")


def test_the_same_call_again_does_nothing_and_another_is_refused(
    cells: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.zarr"
    gm.tl.embed(cells, model=str(model), out=out)
    before = tree(out)
    monkeypatch.setattr("genemamba.tl._embedding.EmbedBlock.__call__", None)
    gm.tl.embed(cells, model=str(model), out=out)
    with pytest.raises(InputError, match="max_tokens is 2048 there and 100 here"):
        gm.tl.embed(cells, model=str(model), out=out, max_tokens=100)
    with pytest.raises(InputError, match="cells_sha256"):
        gm.tl.embed(ad.read_h5ad(cells)[::-1].copy(), model=str(model), out=out)
    assert tree(out) == before


def test_what_changes_no_vector_does_not_matter(
    cells: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version, batch size or name of the model: a store is finished or resumed."""
    out, moved = tmp_path / "out.zarr", tmp_path / "moved"
    shutil.copytree(model, moved)
    with monkeypatch.context() as patch:
        fail_after(patch, "journal", 3)
        with pytest.raises(GeneMambaError, match="full"):
            gm.tl.embed(cells, model=str(model), out=out)
    monkeypatch.setattr(streamed, "__version__", "99")
    for batch_size in (7, 8):
        gm.tl.embed(cells, model=str(moved), out=out, batch_size=batch_size)
    adata = ad.read_h5ad(cells)
    gm.tl.embed(adata, model=str(model))
    found = ad.read_zarr(out).obsm["X_genemamba"]
    np.testing.assert_allclose(found, adata.obsm["X_genemamba"], atol=1e-5)
    with pytest.raises(InputError, match="precision is 'float32' there"):
        gm.tl.embed(cells, model=str(model), out=out, precision="bfloat16")


def test_blocks_of_another_size_are_no_reason_to_lose_a_finished_store(
    cells: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        fail_after(patch, "journal", 3)
        with pytest.raises(GeneMambaError, match="full"):
            gm.tl.embed(cells, model=str(model), out=out)
    for module in (counts, streamed):
        monkeypatch.setattr(module, "BLOCK", 32)
    with pytest.raises(InputError, match="in blocks of 64"):
        gm.tl.embed(cells, model=str(model), out=out)
    for size in (64, 32):
        for module in (counts, streamed):
            monkeypatch.setattr(module, "BLOCK", size)
        gm.tl.embed(cells, model=str(model), out=out)


def test_zarr_v3_consolidated(cells: Path, model: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # zarr's, of text in v3
        warnings.simplefilter("ignore", GeneMambaWarning)
        gm.tl.embed(cells, model=str(model), out=tmp_path / "out.zarr")
    root = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")
    assert root.metadata.zarr_format == 3
    assert root.metadata.consolidated_metadata is not None


@pytest.mark.parametrize("killed", ["while blocks are written", "before it gets its name"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_that_was_begun_is_gone_on_with(
    cells: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed: str,
    zarr_format: int,
) -> None:
    """Of v2, too, which stores of earlier versions are."""
    out = tmp_path / "out.zarr"
    open_group, replace = zarr.open_group, os.replace

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(
            zarr, "open_group",
            lambda path, **how: open_group(
                path, **{**how, **({"zarr_format": zarr_format} if how["mode"] == "w" else {})}
            ),
        )  # fmt: skip
        if killed == "while blocks are written":
            fail_after(patch, "journal", 5)
        else:
            patch.setattr(store.os, "replace", lambda a, b: stop() if b == out else replace(a, b))
        with pytest.raises((GeneMambaError, KeyboardInterrupt)):
            gm.tl.embed(cells, model=str(model), out=out)
    gm.tl.embed(cells, model=str(model), out=out)
    adata = ad.read_h5ad(cells)
    gm.tl.embed(adata, model=str(model))
    assert zarr.open_group(str(out), mode="r").metadata.zarr_format == zarr_format
    found = ad.read_zarr(out).obsm["X_genemamba"]
    np.testing.assert_allclose(found, adata.obsm["X_genemamba"], atol=1e-5)
    gm.tl.embed(cells, model=str(model), out=out)


def test_finished_by_another_process_while_this_one_waited(
    cells: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real = tmp_path / "out.zarr", FileLock.acquire

    def acquire(lock: FileLock, *args: Any, **options: Any) -> Any:
        monkeypatch.setattr(store.FileLock, "acquire", real)
        gm.tl.embed(cells, model=str(model), out=out)
        Path(lock.lock_file).parent.mkdir()
        monkeypatch.setattr("genemamba.tl._embedding.EmbedBlock.__call__", None)
        return real(lock, *args, **options)

    monkeypatch.setattr(store.FileLock, "acquire", acquire)
    gm.tl.embed(cells, model=str(model), out=out)
    assert not out.with_name("out.zarr.partial").exists()


def test_the_lock_is_held_until_the_tree_is_gone(
    cells: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, release = [], FileLock.release
    monkeypatch.setattr(
        store.FileLock, "release",
        lambda lock, **how: (seen.append((out.parent / "out.zarr.partial/store").exists()),
                             release(lock, **how))[1],
    )  # fmt: skip
    out = tmp_path / "out.zarr"
    gm.tl.embed(cells, model=str(model), out=out)
    assert seen[0] is False


def test_what_another_wrote_is_not_touched(cells: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    out.mkdir()
    (out / "mine").write_text("precious")
    with pytest.raises(InputError, match="was not written by genemamba"):
        gm.tl.embed(cells, model=str(model), out=out)
    with pytest.raises(InputError, match="is not a zarr store"):
        gm.tl.embed(cells, model=str(model), out=tmp_path / "out.h5ad")
    with pytest.raises(InputError, match="results cannot be written to"):
        gm.tl.embed(cells, model=str(model))
    with pytest.raises(InputError, match="leave out copy"):
        gm.tl.embed(cells, model=str(model), out=tmp_path / "new.zarr", copy=True)
    assert [p.name for p in tmp_path.rglob("*") if p.name in ("mine", "new.zarr")] == ["mine"]


@pytest.mark.parametrize("at", ["journal", "store"])
def test_a_full_disk(
    cells: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    whole, out = tmp_path / "whole.zarr", tmp_path / "out.zarr"
    gm.tl.embed(cells, model=str(model), out=whole)
    with monkeypatch.context() as patch:
        fail_after(patch, at, 5)
        with pytest.raises(GeneMambaError, match=r"disk of .* is full; 5 of 11 blocks are saved"):
            gm.tl.embed(cells, model=str(model), out=out)
    gm.tl.embed(cells, model=str(model), out=out)
    assert tree(out) == tree(whole)


def fail_after(patch: pytest.MonkeyPatch, at: str, n: int) -> None:
    calls = {"n": 0}

    def full(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls["n"] += 1
            if calls["n"] > n:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **kwargs)

        return call

    if at == "journal":
        patch.setattr(store.os, "fsync", full(os.fsync))
    else:
        patch.setattr(store, "_hash", full(store._hash))


def chunks_of(partial: Path) -> list[Path]:
    blocks = partial / "store/obsm/X_genemamba/c"
    return sorted(blocks.glob("*/0"), key=lambda file: int(file.parent.name))


def blocks(partial: Path) -> int:
    journal = partial / "journal.jsonl"
    lines = journal.read_text().splitlines() if journal.exists() else []
    return len({json.loads(line)["start"] for line in lines})


def wait_for(what: Any) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end, "nothing happened for a minute"
        time.sleep(0.02)
