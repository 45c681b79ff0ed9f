from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData
from safetensors.torch import load_file, save_file

import genemamba as gm
from genemamba.errors import CheckpointError, InputError
from genemamba.network import GeneMamba
from genemamba.tokens import Vocabulary


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def embedded(cells: AnnData, model: object) -> np.ndarray:
    return gm.tl.embed(cells, model=model, copy=True).obsm["X_genemamba"]


@pytest.mark.parametrize("merge", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_published_to_ours_and_back(
    published: Path, tmp_path: Path, merge: str, dtype: torch.dtype
) -> None:
    tensors = {k: t.to(dtype) for k, t in load_file(published / "model.safetensors").items()}
    save_file(tensors, published / "model.safetensors", metadata={"format": "pt"})
    ours = gm.models.convert(published, tmp_path / "ours", merge=merge)
    assert ours == tmp_path / "ours"
    assert {p.name for p in ours.iterdir()} == {"model.safetensors", "config.json", "genes.csv"}
    back = gm.models.convert(ours, tmp_path / "back")
    assert {p.name for p in back.iterdir()} == {"model.safetensors", "config.json", "genes.csv"}
    assert weights(back) == weights(published)
    again = gm.models.convert(back, tmp_path / "again")
    assert weights(again) == weights(ours)
    read = [gm.models.load(published, merge=merge), *map(gm.models.load, (ours, back, again))]
    for model in read[1:]:
        assert model.config == read[0].config
        assert model.vocab.sha256 == read[0].vocab.sha256
        assert (model.vocab.symbol == read[0].vocab.symbol).all()
        for name, weight in model.state_dict().items():
            assert torch.equal(weight, read[0].state_dict()[name]), name


def test_the_same_embedding(published: Path, tmp_path: Path, pbmc: AnnData) -> None:
    ours = gm.models.convert(published / "model.safetensors", tmp_path / "ours")
    cells = pbmc[:64]
    assert (embedded(cells, ours) == embedded(cells, published)).all()


def test_a_trained_cls_row_is_not_lost(published: Path, tmp_path: Path) -> None:
    ours = gm.models.load(published)
    with torch.no_grad():
        ours.embeddings.weight[-1] += 1
    ours.save_pretrained(tmp_path / "ours")
    back = gm.models.convert(tmp_path / "ours", tmp_path / "back")
    rows = load_file(back / "model.safetensors")["embeddings.weight"]
    assert torch.equal(rows, ours.embeddings.weight)
    assert torch.equal(gm.models.load(back).embeddings.weight, ours.embeddings.weight)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tie_embeddings": True}, "embeddings are tied"),
        ({"pre_norm": True}, "norm before each layer"),
        ({"merge": "gate"}, "merges by 'gate'"),
        ({"merge": "concat"}, "merges by 'concat'"),
        ({"norm_eps": 1e-6}, "norm_eps is 1e-06"),
        ({}, r"special tokens \[CLS\], \[MASK\]"),
    ],
)
def test_what_the_published_layout_cannot_express(
    tmp_path: Path, small_model: GeneMamba, settings: dict, said: str
) -> None:
    vocab = small_model.vocab
    if settings:
        columns = ("ensembl_id", "symbol", "median", "alias")
        vocab = Vocabulary(*(getattr(vocab, c) for c in columns), extra=("[CLS]",))
    config = replace(small_model.config, vocab_size=len(vocab), **settings)
    model = GeneMamba(config).reset_parameters(0)
    model.vocab = vocab
    model.save_pretrained(tmp_path / "ours")
    with pytest.raises(CheckpointError, match=said):
        gm.models.convert(tmp_path / "ours", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(published: Path, publish: Callable, tmp_path: Path) -> None:
    for out in (published, published / "model.safetensors"):
        with pytest.raises(InputError, match="exists"):
            gm.models.convert(published, out)
    (tmp_path / "empty").mkdir()
    gm.models.convert(published, tmp_path / "empty")
    (published / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        gm.models.convert(published, tmp_path / "out")
    assert not (tmp_path / "out").exists()
