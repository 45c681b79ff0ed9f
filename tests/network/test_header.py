from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from genemamba.errors import CheckpointError
from genemamba.network.header import MAX_HEADER, read_header


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
    header = read_header(tmp_path / "x.safetensors")
    assert header.metadata == {"format": "pt"}
    assert {name: s.shape for name, s in header.slots.items()} == {"a": (4,), "b": (2, 3), "c": ()}
    assert max(s.stop for s in header.slots.values()) == os.path.getsize(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"", "JSON"),
        (b"[]", "not an object"),
        (b" {}", "does not begin"),
        (b"\xff\xfe{}", "no valid JSON"),
        (b"[" * 100_000, "no valid JSON"),
        (b'{"a":' * 100_000, "no valid JSON"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b'{"a": 1, "a": 2}', "'a' occurs twice"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "no valid JSON"),
        ({"__metadata__": {"format": 1}}, "metadata"),
        ({"__metadata__": 1}, "metadata"),
        ({"a": 1}, "tensor a is not described"),
        ({"a": slot() | {"more": 1}}, "tensor a is not described"),
        ({"a": {"dtype": "F32", "shape": [2]}}, "tensor a is not described"),
        ({"a": slot(dtype="F7")}, "unknown dtype 'F7'"),
        ({"a": slot(dtype=["F32"])}, "unknown dtype"),
        ({"a": slot(shape=[-2])}, "no sizes"),
        ({"a": slot(shape=[2.0])}, "no sizes"),
        ({"a": slot(shape=[True, 2])}, "no sizes"),
        ({"a": slot(shape={"2": 1})}, "no sizes"),
        ({"a": slot(shape=[2**70])}, "no sizes"),
        ({"a": slot(shape=[1] * 500 + [2])}, "no sizes"),
        ({"a": slot() | {"data_offsets": [0, 8, 8]}}, "no sizes"),
        ({"a": slot(shape=[2**62, 2**62])}, "tensor a has 8 bytes"),
        ({"a": slot(8, 0)}, "tensor a has -8 bytes"),
        ({"a": slot(shape=[3])}, "tensor a has 8 bytes"),
        ({"a": slot(), "b": slot()}, "tensor b overlaps"),
        ({"a": slot(0, 4, [1]), "b": slot(2, 8, [6], "U8")}, "tensor b overlaps"),
        ({"a": slot(4, 8, [1])}, "tensor a leaves a gap"),
        ({"a": slot(0, 4, [1])}, "end at byte"),
        ({"a": slot(0, 16, [4])}, "end at byte"),
        ({"a": slot(0, 2**50, [2**48])}, "end at byte"),
        ({}, "end at byte"),
        ({"../../a": slot(), "b": slot()}, "overlaps"),
        ({"a\n\x1b[2J": slot()}, r"called 'a\\n"),
        ({"\ud800": slot()}, r"called '\\ud800'"),
        ({"a" * 201: slot()}, "called 'aaa"),
    ],
)
def test_a_header_that_lies(tmp_path: Path, header: object, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        read_header(write(tmp_path / "x.safetensors", header))


@pytest.mark.parametrize("length", [0, 1, 99, 2**31, 2**63, 2**64 - 1])
def test_a_length_that_lies(tmp_path: Path, length: int) -> None:
    with pytest.raises(CheckpointError, match=r"not a safetensors file|no valid JSON"):
        read_header(write(tmp_path / "x.safetensors", {"a": slot()}, length=length))


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"PK\3\4" * 100, b"\x80\x02}q\0." * 100])
def test_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"not a safetensors file"):
        read_header(tmp_path / "x.safetensors")


def test_a_large_header_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", b"", b"", length=MAX_HEADER + 1)
    os.truncate(path, 2**33)  # sparse
    with pytest.raises(CheckpointError, match="longer than"):
        read_header(path)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_header(path)


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
            header = read_header(tmp_path / "y.safetensors")
        except CheckpointError:
            continue
        with safe_open(tmp_path / "y.safetensors", framework="pt") as file:
            assert set(file.keys()) == set(header.slots)
