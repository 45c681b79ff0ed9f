from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import genemamba as gm
from genemamba.errors import InputError, MapError
from genemamba.maps import reference_map
from genemamba.maps.reference_map import ReferenceMap


def test_the_map_that_comes_with_the_package() -> None:
    body = gm.maps.load("genemamba-body", verify=True)
    assert body.name == "genemamba-body"
    assert body.about["model"]["model"] == "genemamba-mini"
    assert body.about["label_key"] in body.columns
    assert body.umap.shape == (body.n_cells, 2)
    assert sum(f.stat().st_size for f in body.folder.iterdir()) < 5e6
    assert "genemamba-body" in repr(body)


def test_a_path_an_open_map_and_a_moved_one(small_map: ReferenceMap, tmp_path: Path) -> None:
    assert gm.maps.load(small_map) is small_map
    moved = shutil.copytree(small_map.folder, tmp_path / "elsewhere" / "mine")
    for file in moved.iterdir():
        file.chmod(0o444)
    moved.chmod(0o555)
    for given in (moved, str(moved)):
        found = gm.maps.load(given)
        assert (found.name, found.sha256) == ("mine", small_map.sha256)
    moved.chmod(0o755)


def test_home_and_here(
    small_map: ReferenceMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(small_map.folder.parent))
    monkeypatch.setenv("USERPROFILE", str(small_map.folder.parent))
    assert gm.maps.load("~/blood").n_cells == 350
    monkeypatch.chdir(small_map.folder)
    assert gm.maps.load(".").name == "blood"


@pytest.mark.parametrize(
    "given", ["genemamba-bdy", "genemamba-mini", "x" * 5_000, "a\0b", "~nobody/x"]
)
def test_unknown_names(given: str) -> None:
    with pytest.raises(MapError, match="there is no map and no folder") as refused:
        gm.maps.load(given)
    assert "'genemamba-body'" in refused.value.fix
    assert "gm.tl.build_map" in refused.value.fix


@pytest.mark.parametrize("given", [None, 5, ["genemamba-body"]])
def test_wrong_types(given: Any) -> None:
    with pytest.raises(InputError, match="reference_map="):
        gm.maps.load(given)


def test_what_is_no_map(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for given in (tmp_path, tmp_path / "file", os.devnull):
        with pytest.raises(MapError, match=r"is not a reference map: it holds no map\.json"):
            gm.maps.load(given)


def test_large_files_are_hashed_when_asked(
    small_map: ReferenceMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(small_map.folder, tmp_path / "mine")
    vectors = (copy / "bytes.npy").read_bytes()
    (copy / "bytes.npy").write_bytes(vectors[:-1] + bytes([vectors[-1] ^ 1]))
    monkeypatch.setattr(reference_map, "_HASHED_UP_TO", 0)
    gm.maps.load(copy)
    with pytest.raises(MapError, match=r"bytes\.npy is damaged"):
        gm.maps.load(copy, verify=True)
