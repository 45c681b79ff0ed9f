from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from genemamba.errors import CheckpointError
from genemamba.network.weights import MAX_HEADER, WeightFile


def write(path: Path, header: object, data: bytes = b"\0" * 8, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def slot(start: int = 0, stop: int = 8, shape: object = (2,), dtype: object = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_what_the_library_writes(tmp_path: Path) -> None:
    tensors = {
        "b": torch.zeros(2, 3),
        "a": torch.zeros(4, dtype=torch.bfloat16),
        "c": torch.ones(()),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    header = WeightFile(tmp_path / "x.safetensors")
    assert header.metadata == {"format": "pt"}
    assert {name: s.shape for name, s in header.slots.items()} == {"a": (4,), "b": (2, 3), "c": ()}
    assert max(s.stop for s in header.slots.values()) == os.path.getsize(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"", "JSON"),
        (b"[]", "invalid type: sequence"),
        (b" {}", "not fully covered"),
        (b"\xff\xfe{}", "invalid UTF-8"),
        (b"[" * 100_000, "invalid JSON"),
        (b'{"a":' * 100_000, "invalid JSON"),
        (b'{"a": NaN}', "invalid JSON"),
        (f'{{"a": {json.dumps(slot())}, "a": {json.dumps(slot())}}}'.encode(), "'a' occurs twice"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "invalid JSON"),
        ({"__metadata__": {"format": 1}}, "expected a string"),
        ({"__metadata__": 1}, "expected a map"),
        ({"a": 1}, "expected struct TensorInfo"),
        ({"a": {"dtype": "F32", "shape": [2]}}, "missing field `data_offsets`"),
        ({"a": slot(dtype="F7")}, "unknown variant `F7`"),
        ({"a": slot(dtype=["F32"])}, "expected string"),
        ({"a": slot(shape=[-2])}, "expected usize"),
        ({"a": slot(shape=[2.0])}, "expected usize"),
        ({"a": slot(shape=[True, 2])}, "expected usize"),
        ({"a": slot(shape={"2": 1})}, "expected a sequence"),
        ({"a": slot(shape=[2**70])}, "expected usize"),
        ({"a": slot() | {"data_offsets": [0, 8, 8]}}, "expected 2 elements"),
        ({"a": slot(shape=[2**62, 2**62])}, "overflow"),
        ({"a": slot(8, 0)}, "invalid offset for tensor `a`"),
        ({"a": slot(shape=[3])}, "invalid shape"),
        ({"a": slot(), "b": slot()}, "invalid offset for tensor"),
        ({"a": slot(0, 4, [1]), "b": slot(2, 8, [6], "U8")}, "invalid offset for tensor"),
        ({"a": slot(4, 8, [1])}, "invalid offset for tensor `a`"),
        ({"a": slot(0, 4, [1])}, "not fully covered"),
        ({"a": slot(0, 16, [4])}, "not fully covered"),
        ({"a": slot(0, 2**50, [2**48])}, "not fully covered"),
        ({}, "not fully covered"),
        ({"../../a": slot(), "b": slot()}, "invalid offset"),
        ({"\ud800": slot()}, "invalid JSON"),
    ],
)
def test_a_header_that_lies(tmp_path: Path, header: object, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        WeightFile(write(tmp_path / "x.safetensors", header))


def test_a_message_shows_no_raw_name(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", {"a\n\x1b[2J" + "a" * 10_000: slot()})
    with pytest.raises(CheckpointError, match="has no place") as error:
        WeightFile(path).require(iter(()))
    assert error.value.what.isprintable() and len(error.value.what) < 300 + len(str(path))


@pytest.mark.parametrize("length", [0, 1, 99, 2**31, 2**63, 2**64 - 1])
def test_a_length_that_lies(tmp_path: Path, length: int) -> None:
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        WeightFile(write(tmp_path / "x.safetensors", {"a": slot()}, length=length))


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"PK\3\4" * 100, b"\x80\x02}q\0." * 100])
def test_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"not a safetensors file"):
        WeightFile(tmp_path / "x.safetensors")


def test_a_large_header_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", b"", b"", length=MAX_HEADER + 1)
    os.truncate(path, 2**33)  # sparse
    with pytest.raises(CheckpointError, match="longer than"):
        WeightFile(path)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(CheckpointError, match="holds no"):
            WeightFile(path)


def test_any_header_is_sound_or_a_checkpoint_error(tmp_path: Path) -> None:
    """What passes here passes the library's own checks as well."""
    from safetensors import safe_open

    tensors = {"b": torch.zeros(2, 3), "a": torch.zeros(4, dtype=torch.float16)}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    whole = (tmp_path / "x.safetensors").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(1_000):
        data = bytearray(whole)
        for at in rng.integers(len(data), size=rng.integers(1, 4)):
            data[at] ^= 1 << rng.integers(8)
        if rng.random() < 0.2:
            del data[rng.integers(len(data)) :]
        (tmp_path / "y.safetensors").write_bytes(data)
        try:
            header = WeightFile(tmp_path / "y.safetensors")
        except CheckpointError:
            continue
        with safe_open(tmp_path / "y.safetensors", framework="pt") as file:
            assert set(file.keys()) == set(header.slots)
