from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genemamba.errors import InputError, MapError
from genemamba.maps.reference_map import ReferenceMap

FILES = ["bytes.npy", "cells.safetensors", "index.json", "lowest.npy", "space.safetensors",
         "step.npy"]  # fmt: skip


@pytest.fixture
def folder(small_map: ReferenceMap, tmp_path: Path) -> Path:
    return shutil.copytree(small_map.folder, tmp_path / "mine")


def test_what_a_map_knows(small_map: ReferenceMap) -> None:
    assert sorted(f.name for f in small_map.folder.iterdir()) == sorted([*FILES, "map.json"])
    assert small_map.n_cells == 350
    assert small_map.columns.names == ("bulk_labels", "batch", "depth")
    assert small_map.about["held_out"]["batches"]
    assert 0 < small_map.about["held_out"]["accuracy"] <= 1
    assert len(small_map.measured.tokens) == 765
    assert repr(small_map).startswith("ReferenceMap 'blood': 350 cells × ")


def test_its_own_cells_are_found(small_map: ReferenceMap) -> None:
    found, distance = small_map.search(small_map.index.vectors(np.arange(350)), 3)
    assert found[:, 0].tolist() == list(range(350))
    assert (distance[:, 0] == 0).all()
    with pytest.raises(InputError, match="k=351 is more than the 350 cells of the map 'blood'"):
        small_map.search(small_map.index.vectors(np.arange(1)), 351)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_or_changed_is_named(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    for body in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        (folder / name).write_bytes(body)
        with pytest.raises(MapError, match=f"{name} is damaged"):
            ReferenceMap.open(folder)
    (folder / name).unlink()
    with pytest.raises(MapError, match=f"{name} is missing") as error:
        ReferenceMap.open(folder)
    assert "fetch or build the map again" in error.value.fix


@pytest.mark.parametrize("body", ["", "{", "[]", "5", "null", "{}", '{"format": "x"}',
                                  '{"format": Infinity}', '{"format": 1}',
                                  "[" * 5_000])  # fmt: skip
def test_a_damaged_map_json(folder: Path, body: str) -> None:
    (folder / "map.json").write_text(body)
    with pytest.raises(MapError, match=r"map\.json is damaged"):
        ReferenceMap.open(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, r"format 2, and this version of genemamba reads 1\n  Fix: update"),
        ({"files": []}, "files cannot be read"),
        ({"files": {}}, "files lacks cells.safetensors, space.safetensors"),
        ({"files": {"cells.safetensors": 5, "space.safetensors": {}}}, "damaged at 'cells.safe"),
        ({"columns": {"bulk_labels": ["a"], "nowhere": None}}, "do not belong together"),
        ({"columns": {}}, "do not belong together"),  # it has a label_key
        ({"label_key": "nowhere"}, "do not belong together"),
        ({"label_key": None}, "label_key cannot be read"),
        ({"n_cells": 349}, "do not belong together"),
        ({"held_out": {}}, "held_out lacks temperature"),
        ({"model": {}}, "model lacks model, model_sha256"),
    ],
)
def test_a_map_json_that_says_something_else(
    folder: Path, change: dict[str, Any], said: str
) -> None:
    about = json.loads((folder / "map.json").read_text())
    (folder / "map.json").write_text(json.dumps(about | change))
    with pytest.raises(MapError, match=said):
        ReferenceMap.open(folder)
