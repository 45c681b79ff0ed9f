from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from genemamba.errors import CheckpointError
from genemamba.network import GeneMamba
from genemamba.network.checkpoint import read_vocabulary


@pytest.fixture
def folder(tmp_path: Path, small_model: GeneMamba) -> Path:
    small_model.provenance = {"name": "small", "cells": 700}
    small_model.save_pretrained(tmp_path / "small")
    return tmp_path / "small"


def test_round_trip(folder: Path, small_model: GeneMamba) -> None:
    read = GeneMamba.from_pretrained(folder)
    assert read.config == small_model.config
    assert read.vocab.sha256 == small_model.vocab.sha256 == read_vocabulary(folder).sha256
    assert read.provenance["name"] == "small"
    assert len(read.provenance["sha256"]) == 64
    assert not read.training
    for name, weight in small_model.state_dict().items():
        assert torch.equal(weight, read.state_dict()[name]), name


def test_half_precision_and_tied_embeddings(tmp_path: Path, small_model: GeneMamba) -> None:
    from dataclasses import replace

    tied = GeneMamba(replace(small_model.config, tie_embeddings=True)).reset_parameters(0)
    tied.vocab = small_model.vocab
    tied.save_pretrained(tmp_path, half=True)
    stored = load_file(tmp_path / "model.safetensors")
    assert "lm_head.weight" not in stored
    assert stored["embeddings.weight"].dtype == torch.float16
    assert stored["mamba_mixer.layers.0.mamba.A_log"].dtype == torch.float32
    read = GeneMamba.from_pretrained(tmp_path)
    assert read.lm_head.weight is read.embeddings.weight
    assert read.embeddings.weight.dtype == torch.float32
    torch.testing.assert_close(read.embeddings.weight, tied.embeddings.weight, rtol=1e-3, atol=1e-5)


def test_a_model_without_genes_is_not_written(tmp_path: Path, small_model: GeneMamba) -> None:
    small_model.vocab = None
    with pytest.raises(CheckpointError, match="no vocabulary"):
        small_model.save_pretrained(tmp_path)


def test_no_pickle_is_written(folder: Path) -> None:
    assert {p.name for p in folder.iterdir()} == {"model.safetensors", "config.json", "genes.csv"}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "genes.csv"])
@pytest.mark.parametrize("size", [0, 7, 0.5, 0.99])
def test_a_truncated_file(folder: Path, name: str, size: float) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(size * len(content)) if size < 1 else size])
    with pytest.raises(CheckpointError, match=r"(?s)Fix: "):
        GeneMamba.from_pretrained(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "genes.csv"])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"holds no {name}"):
        GeneMamba.from_pretrained(folder)


def rewrite(folder: Path, **changed: torch.Tensor | None) -> None:
    tensors = load_file(folder / "model.safetensors") | changed
    save_file({k: v for k, v in tensors.items() if v is not None}, folder / "model.safetensors")


def test_the_message_names_the_wrong_tensor(folder: Path) -> None:
    bad = {
        "norm_f.weight": (None, "norm_f.weight is missing"),
        "lm_head.bias": (torch.zeros(3), r"lm_head.bias has shape \[3\]"),
        "embeddings.weight": (
            torch.zeros(769, 32, dtype=torch.int32),
            "embeddings.weight has dtype I32",
        ),
        "unheard_of": (torch.zeros(1), "'unheard_of' has no place"),
    }
    whole = (folder / "model.safetensors").read_bytes()
    for name, (tensor, said) in bad.items():
        (folder / "model.safetensors").write_bytes(whole)
        rewrite(folder, **{name: tensor})
        with pytest.raises(CheckpointError, match=said):
            GeneMamba.from_pretrained(folder)


def test_nan_weights(folder: Path) -> None:
    rewrite(folder, **{"norm_f.weight": torch.full((32,), torch.nan)})
    with pytest.raises(CheckpointError, match=r"norm_f\.weight holds NaN"):
        GeneMamba.from_pretrained(folder)


def test_weights_of_another_training(folder: Path) -> None:
    rewrite(folder, **{"norm_f.weight": torch.full((32,), 2.0)})
    with pytest.raises(CheckpointError, match="sha256"):
        GeneMamba.from_pretrained(folder)


def test_missing_and_changed_genes(folder: Path) -> None:
    lines = (folder / "genes.csv").read_text().splitlines(keepends=True)
    (folder / "genes.csv").write_text("".join(lines[:-1]))
    with pytest.raises(CheckpointError, match="genes are missing"):
        GeneMamba.from_pretrained(folder)
    lines[1] = lines[1].replace(lines[1].split(",")[2], "9.25")
    (folder / "genes.csv").write_text("".join(lines))
    with pytest.raises(CheckpointError, match="not the gene table"):
        GeneMamba.from_pretrained(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99}, {"format": None}, {"config": []}, {"provenance": 3}, {"extra_tokens": [1]},
        {"config": {"vocab_size": 10}},
    ],
)  # fmt: skip
def test_a_config_that_lies(folder: Path, change: dict) -> None:
    described = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(described))
    with pytest.raises(CheckpointError):
        GeneMamba.from_pretrained(folder)
