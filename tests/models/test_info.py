from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import genemamba as gm
from genemamba.errors import CheckpointError
from genemamba.network import GeneMamba

pytestmark = pytest.mark.usefixtures("home")


def test_a_name_that_is_not_on_disk(home: Path) -> None:
    known = gm.models.info("genemamba-24l-512d")
    assert known["parameters"] == 65_744_338
    assert not known["on_disk"]
    assert known["path"].parent == home
    assert known["layout"] == "published"
    assert "no reuse licence is confirmed" in known["licence"]
    assert known["files"]["model.safetensors"]["size"] == 262_998_656
    assert len(known["files"]) == 4
    assert known["config"] == known["provenance"] == {}
    assert not home.exists()


def test_a_folder_and_a_file(small_model: GeneMamba, tmp_path: Path) -> None:
    small_model.provenance = {"name": "mine", "licence": "MIT"}
    small_model.save_pretrained(tmp_path)
    known = gm.models.info(tmp_path)
    assert known["name"] == "mine"
    assert known["licence"] == "MIT"
    assert known["parameters"] == sum(p.numel() for p in small_model.parameters())
    assert known["vocabulary"] == f"{len(small_model.vocab)} tokens"
    assert known["config"] == small_model.config.to_dict()
    assert set(known["files"]) == {"model.safetensors", "config.json", "genes.csv"}
    file = gm.models.info(str(tmp_path / "model.safetensors"))
    assert file["parameters"] == known["parameters"]
    assert set(file["files"]) == {"model.safetensors"}


def test_the_same_facts_of_names_and_paths(small_model: GeneMamba, tmp_path: Path) -> None:
    small_model.save_pretrained(tmp_path)
    assert gm.models.info("genemamba-24l-512d").keys() == gm.models.info(tmp_path).keys()


def test_the_bundled_one() -> None:
    known = gm.models.info("genemamba-mini")
    assert known["on_disk"]
    assert known["parameters"] == gm.models.available().loc["genemamba-mini", "parameters"]
    assert known["parameters"] == gm.models.info(known["path"])["parameters"] > 1_000_000
    assert known["provenance"]["name"] == known["name"]


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint is called 'gut'"):
        gm.models.info("gut")
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        gm.models.info(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        gm.models.info(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    with pytest.raises(CheckpointError, match=r"no tensor embeddings\.weight"):
        gm.models.info(tmp_path)


@pytest.mark.parametrize("part", ["config", "provenance"])
def test_a_damaged_config(small_model: GeneMamba, tmp_path: Path, part: str) -> None:
    small_model.save_pretrained(tmp_path)
    described: dict[str, Any] = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(described | {part: "text"}))
    with pytest.raises(CheckpointError, match=f"{part} has a wrong type"):
        gm.models.info(tmp_path)
