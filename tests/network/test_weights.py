from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from genemamba.errors import CheckpointError
from genemamba.network import GeneMamba, GeneMambaConfig, weights
from genemamba.network.weights import WeightFile, mean_row, tensor_shapes, write_weights


@pytest.mark.parametrize("merge", ["mean", "sum", "gate", "concat"])
@pytest.mark.parametrize("switches", [{}, {"pre_norm": True}, {"tie_embeddings": True}])
def test_shapes_are_those_of_the_model(merge: str, switches: dict) -> None:
    config = GeneMambaConfig(
        vocab_size=11, d_model=24, n_layers=3, d_state=5, d_conv=3, expand=3, headdim=12,
        merge=merge, **switches,
    )  # fmt: skip
    with torch.device("meta"):
        state = GeneMamba(config).state_dict()
    if config.tie_embeddings:
        del state["lm_head.weight"]
    assert dict(tensor_shapes(config)) == {name: tuple(t.shape) for name, t in state.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_row_more(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {"w": torch.randn(3000, 4).to(dtype), "b": torch.randn(7).to(dtype)}
    save_file(tensors, tmp_path / "x.safetensors")
    read = WeightFile(tmp_path / "x.safetensors").tensors(grow=frozenset({"w", "b"}))
    for name, tensor in tensors.items():
        assert read[name].dtype == dtype
        assert torch.equal(read[name][:-1], tensor)
        assert torch.equal(read[name][-1], tensor.double().mean(0).to(dtype))
        assert torch.equal(read[name][-1], mean_row(tensor))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_weights_that_are_no_numbers(tmp_path: Path, bad: float, dtype: torch.dtype) -> None:
    tensor = torch.zeros(50, dtype=dtype)
    tensor[33] = bad
    save_file({"w": tensor}, tmp_path / "x.safetensors")
    for grow in (frozenset(), frozenset({"w"})):
        with pytest.raises(CheckpointError, match="tensor w holds NaN or infinite"):
            WeightFile(tmp_path / "x.safetensors").tensors(grow=grow)


def test_float64_that_float32_cannot_hold(tmp_path: Path) -> None:
    save_file({"w": torch.tensor([1e300], dtype=torch.float64)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="infinite"):
        WeightFile(tmp_path / "x.safetensors").tensors()


def test_changing_a_weight_does_not_change_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"w": torch.zeros(1000)}, path)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    WeightFile(path).tensors()["w"].fill_(1.0)
    assert WeightFile(path).sha256() == before


def test_a_file_may_replace_the_one_it_is_mapped_from(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"v": torch.arange(50_000.0), "w": torch.zeros(50_000)}, path)
    tensors = WeightFile(path).tensors()
    tensors["w"].fill_(1.0)
    write_weights(tensors, path, {"format": "pt"})
    read = load_file(path)
    assert torch.equal(read["v"], torch.arange(50_000.0))
    assert torch.equal(read["w"], torch.ones(50_000))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_nothing_is_left_of_a_file_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    path = tmp_path / "x.safetensors"
    path.write_text("earlier")
    monkeypatch.setattr(weights, "save_file", full)
    with pytest.raises(CheckpointError, match=r"cannot be written \(No space left"):
        write_weights({"w": torch.zeros(1)}, path, {})
    assert path.read_text() == "earlier"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_weights({"w": torch.zeros(1)}, tmp_path / "none" / "x.safetensors", {})
