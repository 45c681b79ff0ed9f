"""Fetching from a real HTTP server on loopback; what may go wrong is in tests/models/test_fetch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import CheckpointError, InputError
from genemamba.maps.reference_map import ReferenceMap
from genemamba.network import GeneMamba

pytestmark = pytest.mark.usefixtures("home")
Serve = Callable[[Path], dict[str, tuple[str, str]]]


def test_a_fetched_map_is_used_by_its_name(
    serve: Serve, small_map: ReferenceMap, small_model: GeneMamba, pbmc: AnnData, home: Path
) -> None:
    gm.maps.register("blood-map", serve(small_map.folder))
    cells = pbmc[:40].copy()
    with pytest.raises(gm.errors.MapError, match="not on disk") as refused:
        gm.tl.map(cells, "blood-map", model=small_model)
    assert refused.value.fix == "gm.maps.fetch('blood-map')"
    folder = gm.maps.fetch("blood-map")
    assert folder.parent == home
    assert gm.maps.available().loc["blood-map", "on_disk"]
    assert gm.maps.fetch("blood-map") == folder
    assert gm.maps.load("blood-map").name == "blood-map"
    gm.tl.map(cells, "blood-map", model=small_model)
    gm.pl.map(cells, cells.uns["genemamba"]["map"]["map"])
    assert cells.uns["genemamba"]["map"]["map_sha256"] == small_map.sha256


def test_wrong_bytes_are_no_map(serve: Serve, small_map: ReferenceMap, tmp_path: Path) -> None:
    shutil.copytree(small_map.folder, tmp_path / "served")
    files = serve(tmp_path / "served")
    (tmp_path / "served" / "bytes.npy").write_bytes(b"else")
    gm.maps.register("blood-map", files)
    with pytest.raises(CheckpointError, match=r"bytes\.npy"):
        gm.maps.fetch("blood-map")
    assert not gm.maps.available().loc["blood-map", "on_disk"]


def test_to_another_folder(tmp_path: Path) -> None:
    folder = gm.maps.fetch("genemamba-body", to=tmp_path / "usb")
    assert gm.maps.load(folder).sha256 == gm.maps.load("genemamba-body").sha256
    (folder / "map.json").write_text("mine")
    with pytest.raises(InputError, match=r"holds another map\.json"):
        gm.maps.fetch("genemamba-body", to=folder)


def test_unknown_names() -> None:
    with pytest.raises(CheckpointError, match="no map is called 'genemamba-mini'") as refused:
        gm.maps.fetch("genemamba-mini")
    assert "gm.maps.available() lists all, such as 'genemamba-body'" in refused.value.fix
