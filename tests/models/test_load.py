from __future__ import annotations

import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch

import genemamba as gm
from genemamba.errors import CheckpointError
from genemamba.models import _registry
from genemamba.models._registry import Entry, RemoteFile
from genemamba.network import GeneMamba


def test_the_bundled_checkpoint_is_small_and_complete() -> None:
    model = gm.models.load("genemamba-mini")
    assert model.provenance["name"] == "genemamba-mini"
    assert len(model.vocab) == model.config.vocab_size
    folder = Path(model.provenance["path"])
    assert sum(f.stat().st_size for f in folder.iterdir()) < 14e6
    assert "not for" in (folder / "README.md").read_text().lower()


def test_the_bundled_weights_are_those_of_the_registry_and_the_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = _registry.require("genemamba-mini")
    model = gm.models.load(entry.name)
    assert model.provenance["sha256"] == entry.weights_sha256
    assert f"`{entry.weights_sha256}`" in (entry.folder / "README.md").read_text()
    other = replace(entry, weights_sha256="0" * 64)
    monkeypatch.setitem(_registry._ENTRIES, entry.name, other)
    with pytest.raises(CheckpointError, match=r"do not match the release\n.*pip install"):
        gm.models.load(entry.name)


def test_a_path_and_a_loaded_model(tmp_path: Path, small_model: GeneMamba) -> None:
    small_model.save_pretrained(tmp_path)
    assert gm.models.load(tmp_path).vocab.sha256 == small_model.vocab.sha256
    assert gm.models.load(str(tmp_path)).config == small_model.config
    assert gm.models.load(small_model) is small_model


def test_vocabulary_alone(tmp_path: Path, small_model: GeneMamba) -> None:
    small_model.save_pretrained(tmp_path)
    assert gm.models.vocabulary(tmp_path).sha256 == small_model.vocab.sha256
    assert gm.models.vocabulary(small_model) is small_model.vocab
    small_model.vocab = None
    with pytest.raises(CheckpointError, match="no vocabulary"):
        gm.models.vocabulary(small_model)


@pytest.mark.parametrize("call", [gm.models.load, gm.models.vocabulary])
def test_an_unknown_model(call: object) -> None:
    with pytest.raises(CheckpointError, match=r"genemamba-mni.*\n.*use 'genemamba-mini'"):
        call("genemamba-mni")


def test_a_name_that_was_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENEMAMBA_HOME", str(tmp_path))
    for call in (gm.models.load, gm.models.vocabulary):
        with pytest.raises(CheckpointError, match="not on this machine") as error:
            call("genemamba-24l-512d")
        assert 'gm.models.fetch("genemamba-24l-512d")' in error.value.fix
    assert not list(tmp_path.iterdir())
    with pytest.raises(CheckpointError, match=r"use 'genemamba-24l-512d'"):
        gm.models.load("genemamba-24l-512")


def test_a_name_in_the_published_layout(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tuple(
        RemoteFile(f.name, f"https://example.org/{f.name}", sha256(f.read_bytes()).hexdigest())
        for f in sorted(published.iterdir())
    )
    entry = Entry("theirs", files, None, "few genes", "example.org", "unknown", layout="published")
    monkeypatch.setitem(_registry._ENTRIES, "theirs", entry)
    monkeypatch.setenv("GENEMAMBA_HOME", str(tmp_path / "home"))
    shutil.copytree(published, entry.folder)
    model = gm.models.load("theirs", merge="sum")
    assert model.config.merge == "sum"
    assert model.provenance["name"] == "theirs"
    assert model.provenance["source"] == "example.org"
    assert model.provenance["licence"] == "unknown"
    assert gm.models.vocabulary("theirs").sha256 == model.vocab.sha256
    gm.models.convert("theirs", tmp_path / "ours", merge="sum")
    converted = gm.models.load(tmp_path / "ours")
    assert converted.config.merge == "sum"
    assert converted.provenance["licence"] == "unknown"


def test_a_file_of_a_folder_means_the_folder(tmp_path: Path, small_model: GeneMamba) -> None:
    small_model.save_pretrained(tmp_path)
    model = gm.models.load(tmp_path / "model.safetensors")
    assert model.config == small_model.config
    assert model.provenance["layout"] == "genemamba"


def test_a_loaded_model_can_be_saved_where_it_came_from(
    tmp_path: Path, small_model: GeneMamba
) -> None:
    small_model.save_pretrained(tmp_path)
    model = gm.models.load(tmp_path)
    with torch.no_grad():
        model.norm_f.weight.fill_(2.0)
    model.save_pretrained(tmp_path)
    again = gm.models.load(tmp_path)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    assert again.norm_f.weight[0] == 2
