from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from filelock import FileLock

import genemamba as gm
from genemamba._files import sha256
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.maps import build
from genemamba.maps.layout import lay_out
from genemamba.network import GeneMamba
from genemamba.tl import _build_map

pytestmark = pytest.mark.usefixtures("no_umap")


def hashes(folder: Path) -> dict[str, str]:
    return {f.name: sha256(f) for f in sorted(folder.iterdir())}


@pytest.fixture
def cells(pbmc: AnnData) -> AnnData:
    return pbmc[:120].copy()


@pytest.fixture
def how(small_model: GeneMamba) -> dict[str, Any]:
    return {"label_key": "bulk_labels", "batch_key": "batch", "model": small_model}


@pytest.mark.parametrize("stored", ["memory", "h5ad", "zarr", "backed"])
def test_wherever_cells_are_the_map_is_the_same(
    stored: str, cells: AnnData, how: dict[str, Any], tmp_path: Path
) -> None:
    import anndata as ad

    found = gm.tl.build_map(cells, out=tmp_path / "whole", keep=["batch"], **how)
    assert not (tmp_path / "whole.partial").exists()
    assert not cells.obsm and not cells.uns
    assert found.about["batch_key"] == "batch"
    assert found.columns.take("bulk_labels", np.arange(120)).tolist() == list(
        cells.obs["bulk_labels"]
    )
    assert found.columns.cell_names(np.arange(120)).tolist() == list(cells.obs_names)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    cells.write_zarr(tmp_path / "cells.zarr")
    given: Any = {
        "memory": cells,
        "h5ad": tmp_path / "cells.h5ad",
        "zarr": str(tmp_path / "cells.zarr"),
        "backed": ad.read_h5ad(tmp_path / "cells.h5ad", backed="r"),
    }[stored]
    again = gm.tl.build_map(given, out=tmp_path / "again", keep=["batch"], **how)
    ours, theirs = hashes(found.folder), hashes(again.folder)
    del ours["map.json"], theirs["map.json"]  # it names the source
    assert ours == theirs


def test_an_embedding_that_is_there_is_used(
    cells: AnnData, how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how["model"].save_pretrained(tmp_path / "model")
    how["model"] = str(tmp_path / "model")
    found = gm.tl.build_map(cells, out=tmp_path / "a", **how)
    gm.tl.embed(cells, model=how["model"])
    monkeypatch.setattr("genemamba.tl._map_sources.embed_into", None)
    again = gm.tl.build_map(cells, out=tmp_path / "b", **how)
    np.testing.assert_allclose(again.index.vectors(np.arange(120)),
                               found.index.vectors(np.arange(120)), atol=0.1)  # fmt: skip


def test_several_sources(cells: AnnData, how: dict[str, Any], tmp_path: Path) -> None:
    one, two = cells[:70].copy(), cells[70:].copy()
    two.obs["tissue"] = one.obs["tissue"] = "blood"
    one.write_h5ad(tmp_path / "one.h5ad")
    found = gm.tl.build_map(
        [tmp_path / "one.h5ad", two], out=tmp_path / "m", keep=["tissue"], **how
    )
    assert found.about["sources"] == ["one", "adata[1]"]
    assert found.columns.names == ("bulk_labels", "tissue", "source")
    sources = found.columns.take("source", np.arange(120)).tolist()
    assert sources == ["one"] * 70 + ["adata[1]"] * 50
    assert found.about["held_out"]["batches"]
    one.obs["source"], two.obs["source"] = "mine", "yours"
    kept = gm.tl.build_map([one, two], out=tmp_path / "n", keep=["source"], **how)
    assert kept.columns.values("source") == ("mine", "yours")
    two.write_zarr(tmp_path / "one.zarr")
    with pytest.raises(InputError, match="two of adata are called 'one'"):
        gm.tl.build_map([tmp_path / "one.h5ad", tmp_path / "one.zarr"], out=tmp_path / "o", **how)


def test_sources_need_genes_in_common(cells: AnnData, how: dict[str, Any], tmp_path: Path) -> None:
    first, second = cells[:, :400].copy(), cells[:, 399:].copy()
    with pytest.raises(InputError, match=r"adata\[0\] and adata\[1\] have 1 genes in common"):
        gm.tl.build_map([first, second], out=tmp_path / "m", **how)
    third = np.arange(765) % 3
    pairs = [cells[:, third != i].copy() for i in range(3)]  # each two, but never all
    with pytest.raises(InputError, match=r"all of .* have 0 genes in common"):
        gm.tl.build_map(pairs, out=tmp_path / "m", **how)
    assert not list(tmp_path.iterdir())
    with pytest.warns(GeneMambaWarning, match="on genes that the other does not measure"):
        gm.tl.build_map([cells, second], out=tmp_path / "m", **how)


STAGES = {  # what is stopped, in which module
    "embedding": ("genemamba.tl._map_sources", "embed_into"),
    "space": ("genemamba.tl._build_map", "fit_space"),
    "vectors": ("genemamba.tl._build_map", "write_vectors"),
    "index": ("genemamba.maps.build", "tell"),
    "umap": ("genemamba.maps.build", "lay_out"),
    "columns": ("genemamba.maps.build", "write_arrays"),
    "manifest": ("genemamba.maps.build", "write_manifest"),
    "moving": ("pathlib.Path", "replace"),
}


@pytest.fixture(scope="module")
def whole() -> dict[str, str]:
    """Hashes of the files of a build that nothing stopped; the first test fills it in."""
    return {}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stopped_build_resumes_to_the_same_bytes(
    stage: str, cells: AnnData, how: dict[str, Any], tmp_path: Path, whole: dict[str, str]
) -> None:
    if not whole:
        whole |= hashes(gm.tl.build_map(cells, out=tmp_path / "whole", **how).folder)
    full = list(STAGES).index(stage) % 2
    why = OSError(errno.ENOSPC, "full") if full else KeyboardInterrupt()
    module, name = STAGES[stage]

    def stop(*given: Any, **_: Any) -> Any:
        if stage != "moving" or given[1] == tmp_path / "m":
            raise why
        return os.replace(given[0], given[1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{module}.{name}", stop)
        if full:
            with pytest.raises(InputError, match="the disk is full") as refused:
                gm.tl.build_map(cells, out=tmp_path / "m", **how)
            assert "same call again: it resumes" in refused.value.fix
        else:
            with pytest.raises(KeyboardInterrupt):
                gm.tl.build_map(cells, out=tmp_path / "m", **how)
    assert not (tmp_path / "m").exists()
    with pytest.raises(InputError, match=r"other settings: .*label_key"):
        gm.tl.build_map(cells, out=tmp_path / "m", **(how | {"label_key": "batch"}))
    assert hashes(gm.tl.build_map(cells, out=tmp_path / "m", **how).folder) == whole
    assert not (tmp_path / "m.partial").exists()


def test_a_finished_map_is_returned_at_once(
    cells: AnnData, how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m"
    found = gm.tl.build_map(cells, out=out, **how)
    (tmp_path / "m.partial").mkdir()  # left by a process that was killed at the very end
    monkeypatch.setattr(_build_map, "write_map", None)
    assert gm.tl.build_map(cells, out=str(out), **how).sha256 == found.sha256
    assert not (tmp_path / "m.partial").exists()
    cells.obs["same"] = cells.obs["batch"]
    for other in ({"rng": 1}, {"label_key": "batch"}, {"batch_key": None}, {"keep": ["batch"]},
                  {"max_tokens": 100}):  # fmt: skip
        with pytest.raises(InputError, match="is a map of other cells, columns or settings"):
            gm.tl.build_map(cells, out=out, **(how | other))
    with pytest.raises(InputError, match="is a map of other cells"):
        gm.tl.build_map(cells[:100].copy(), out=out, **how)
    how["model"].reset_parameters(5)
    with pytest.raises(InputError, match="a map made with another model"):
        gm.tl.build_map(cells, out=out, **how)
    assert gm.maps.load(out).sha256 == found.sha256


def test_names_of_columns_tell_maps_apart(
    cells: AnnData, how: dict[str, Any], tmp_path: Path
) -> None:
    cells.obs["same"] = cells.obs["batch"]
    gm.tl.build_map(cells, out=tmp_path / "m", keep=["batch"], **how)
    with pytest.raises(InputError, match="other cells, columns"):
        gm.tl.build_map(cells, out=tmp_path / "m", keep=["same"], **how)


def test_one_process_at_a_time(cells: AnnData, how: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "m.partial").mkdir()
    other = FileLock(tmp_path / "m.partial" / "lock.new")
    with other, pytest.raises(InputError, match="is being written by another process"):
        gm.tl.build_map(cells, out=tmp_path / "m", **how)
    gm.tl.build_map(cells, out=tmp_path / "m", **how)


@pytest.mark.parametrize("out", [None, 5, "", "/", ".", "x" * 300])
def test_what_cannot_be_a_folder(out: Any, cells: AnnData, how: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="out="):
        gm.tl.build_map(cells, out=out, **how)


def test_where_something_else_is(cells: AnnData, how: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").touch()
    for name in ("file", "folder"):
        with pytest.raises(InputError, match="exists and is not a map"):
            gm.tl.build_map(cells, out=tmp_path / name, **how)
    with pytest.raises(InputError, match="cannot be written"):
        gm.tl.build_map(cells, out=tmp_path / "file" / "map", **how)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["file", "folder"]
    (tmp_path / "empty").mkdir()
    gm.tl.build_map(cells, out=tmp_path / "empty", **how)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.nan, "is empty"),
        ("", "is empty"),
        (["unknown", "T"] * 60, "'unknown' is one of the labels"),
        (np.arange(120) / 7, "fractions"),
        ([[1]] * 120, "no names"),
        ([f"cell {i}" for i in range(120)], "they name cells, not kinds"),
    ],
)
def test_labels_that_are_none(
    values: Any, said: str, cells: AnnData, how: dict[str, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("genemamba.maps.columns.MOST_VALUES", 50)
    cells.obs["of"] = pd.Series(values, index=cells.obs_names)
    with pytest.raises(InputError, match=said):
        gm.tl.build_map(cells, out=tmp_path / "m", **(how | {"label_key": "of"}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [5, None, [5], np.ones((3, 3)), {"a": 1}, [], "nowhere.h5ad"])
def test_what_are_no_cells(given: Any, how: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError):
        gm.tl.build_map(given, out=tmp_path / "m", **how)
    assert not list(tmp_path.iterdir())


def test_few_cells(cells: AnnData, how: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="9 cells are too few for a map"):
        gm.tl.build_map(cells[:9].copy(), out=tmp_path / "m", **how)
    for change in ({"label_key": None}, {"batch_key": None}, {}):
        out = tmp_path / f"of {len(change)} {next(iter(change), '')}"
        assert gm.tl.build_map(cells[:10].copy(), out=out, **(how | change)).n_cells == 10


def test_cells_without_genes_and_labels_are_left_out(
    cells: AnnData, how: dict[str, Any], tmp_path: Path
) -> None:
    cells.X[3] = cells.X[5] = 0
    labels = cells.obs["bulk_labels"].astype(object)
    labels.iloc[[3, 5]] = "A, which no other cell has"
    labels.iloc[[7, 8]] = np.nan
    cells.obs["bulk_labels"] = pd.Categorical(labels)
    with pytest.warns(GeneMambaWarning, match="2 cells express no gene"):
        found = gm.tl.build_map(cells, out=tmp_path / "m", **how)
    assert found.n_cells == 118
    names = found.columns.cell_names(np.arange(118))
    assert names.tolist() == list(np.delete(cells.obs_names, [3, 5]))
    values = found.columns.values("bulk_labels")
    assert "A, which no other cell has" not in values
    own = found.columns.take("bulk_labels", np.arange(118))
    pd.testing.assert_series_equal(pd.Series(own), labels.drop(labels.index[[3, 5]]).reset_index(
        drop=True), check_names=False)  # fmt: skip
    assert found.expected.named.max() < len(values)  # of the same classes


def test_more_cells_than_umap_lays_out(
    cells: AnnData, how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_LAID_OUT", 60)
    found = gm.tl.build_map(cells, out=tmp_path / "m", **how)
    assert found.umap.shape == (120, 2)
    assert np.isfinite(found.umap).all()


@pytest.mark.slow
def test_with_the_real_umap(
    cells: AnnData, how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "lay_out", lay_out)
    found = gm.tl.build_map(cells, out=tmp_path / "a", **how)
    again = gm.tl.build_map(cells, out=tmp_path / "b", **how)
    assert hashes(found.folder) == hashes(again.folder)
    assert np.isfinite(found.umap).all()


KILLED = """
import os, sys, anndata as ad, numpy as np, genemamba as gm
from genemamba.maps import build
def wait(near, distance, seed):
    print("here", flush=True)
    import time; time.sleep(60)
build.lay_out = wait
gm.tl.build_map(sys.argv[1], out=sys.argv[2], label_key="bulk_labels", batch_key="batch",
                model=sys.argv[3], precision="float32")
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_process_leaves_a_build_that_resumes(
    cells: AnnData, how: dict[str, Any], tmp_path: Path
) -> None:
    how["model"].save_pretrained(tmp_path / "model")
    how["model"] = str(tmp_path / "model")
    cells.write_h5ad(tmp_path / "cells.h5ad")
    given = [str(tmp_path / name) for name in ("cells.h5ad", "m", "model")]
    child = subprocess.Popen([sys.executable, "-c", KILLED, *given], stdout=-1, text=True)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "here\n"
        with pytest.raises(InputError, match="by another process"):
            gm.tl.build_map(given[0], out=given[1], **how)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    found = gm.tl.build_map(given[0], out=given[1], **how)
    whole = gm.tl.build_map(given[0], out=tmp_path / "whole", **how)
    assert hashes(found.folder) == hashes(whole.folder)
