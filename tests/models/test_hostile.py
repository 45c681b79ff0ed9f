"""Files that someone made to do harm: each ends in a clear error, in bounded memory."""

from __future__ import annotations

import json
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import genemamba as gm
from genemamba.errors import CheckpointError
from genemamba.network import GeneMamba

STATUS = Path("/proc/self/status")


@pytest.fixture(autouse=True)
def _bounded_memory() -> Iterator[None]:
    """No attack may cost more than 300 MB."""
    if sys.platform != "linux":
        yield
        return
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _kilobytes("VmRSS")
    yield
    assert _kilobytes("VmHWM") - before < 300_000


def _kilobytes(what: str) -> int:
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))


@pytest.fixture(params=["ours", "published"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "published":
        return request.getfixturevalue("published")
    request.getfixturevalue("small_model").save_pretrained(tmp_path / "ours")
    return tmp_path / "ours"


@pytest.fixture
def ours(small_model: GeneMamba, tmp_path: Path) -> Path:
    small_model.save_pretrained(tmp_path / "ours")
    return tmp_path / "ours"


def refused(folder: Path, said: str) -> None:
    with pytest.raises(CheckpointError, match=said) as error:
        gm.models.load(folder)
    assert error.value.fix
    with pytest.raises(CheckpointError):
        gm.models.convert(folder, folder.parent / "out")
    assert not (folder.parent / "out").exists()


def test_a_zip_in_place_of_the_weights(folder: Path) -> None:
    bomb = folder.parent / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("../../data.pkl", b"\0" * 50_000_000)
    bomb.replace(folder / "model.safetensors")
    refused(folder, "not a safetensors file")


def test_a_pickle_in_place_of_the_weights(folder: Path) -> None:
    victim = folder.parent / "executed"
    (folder / "model.safetensors").write_bytes(pickle.dumps(_Mkdir(victim)) * 10)
    refused(folder, "not a safetensors file")
    assert not victim.exists()


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".ckpt", ".pkl", ""])
def test_formats_that_can_run_code_are_not_read(tmp_path: Path, suffix: str) -> None:
    victim = tmp_path / "executed"
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(pickle.dumps(_Mkdir(victim)))
    refused(path, "not a .safetensors file")
    assert not victim.exists()


class _Mkdir:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize(
    "name", ["token_dictionary", "gene_median_dictionary", "gene_name_id_dict"]
)
def test_a_payload_in_place_of_a_gene_table(published: Path, name: str) -> None:
    victim = published.parent / "executed"
    for payload in (_Mkdir(victim), {"ENSG00000000000": _Mkdir(victim)}):
        (published / f"{name}.pkl").write_bytes(pickle.dumps(payload))
        refused(published, rf"{name}.pkl is damaged(?s:.)*nothing in it was executed")
        assert not victim.exists()


def test_files_of_10_gigabytes(folder: Path) -> None:
    """Sparse, so they cost nothing to send in an archive."""
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        os.truncate(file, 10 * 2**30)
        refused(folder, f"{file.name}")
        file.write_bytes(whole)
    gm.models.load(folder)


def test_a_sound_header_of_10_gigabytes(published: Path) -> None:
    path = published / "model.safetensors"
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    last = max(tensors, key=lambda entry: entry["data_offsets"])
    added = 10 * 2**30
    header["more"] = {
        "dtype": "U8", "shape": [added],
        "data_offsets": [last["data_offsets"][1], last["data_offsets"][1] + added],
    }  # fmt: skip
    data = path.read_bytes()[8 + length :]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    os.truncate(path, path.stat().st_size + added)
    refused(published, "tensor .more. has no place")


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe{}", b"", b"[]", b"[" * 500_000, b'{"format": 1, "format": 2}', b'{"format": NaN}',
     b'{"a":' * 200_000, b"9" * 10_000, b'"' + b"x" * 2_000_000 + b'"'],
    ids=range(9),
)  # fmt: skip
def test_a_config_that_is_no_json(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    refused(folder, "config.json")


@pytest.mark.parametrize(
    "change",
    [
        {"n_layers": 10**9}, {"n_layers": 10**30}, {"d_model": 10**30}, {"d_model": 2**31},
        {"headdim": 10**30}, {"expand": 2**62}, {"d_state": 2**62}, {"d_conv": 10**12},
        {"chunk_size": 10**12}, {"vocab_size": 2**62}, {"n_layers": True}, {"n_layers": 2.0},
        {"norm_eps": "1e-5"}, {"norm_eps": 0}, {"norm_eps": 1e400}, {"merge": ["mean"]},
        {"merge": None}, {"pre_norm": "yes"}, {"__class__": "x"}, {"d_model": None},
    ],
    ids=str,
)  # fmt: skip
def test_sizes_that_cannot_be(ours: Path, change: dict) -> None:
    described = json.loads((ours / "config.json").read_text())
    described["config"] |= change
    (ours / "config.json").write_text(json.dumps(described))
    refused(ours, "config|tensor|Infinity")


def test_a_gene_table_whose_array_would_fill_memory(ours: Path) -> None:
    """All rows of a numpy text array are as wide as the widest: 1 MB of csv would take 52 GB."""
    with (ours / "genes.csv").open("a") as file:
        file.write(f"ENSG99999999999,,1.0,{'x' * 130_000}\n")
        file.writelines(f"ENST{i:06d},,1.0,\n" for i in range(100_000))
    refused(ours, r"genes.csv(?s:.)*characters")


def test_names_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "../../etc/passwd",
        "genemamba-mini/../../..",
        "a\0b",
        "",
        "x" * 5000,
        "/dev/zero",
    ):
        with pytest.raises(CheckpointError):
            gm.models.load(name)


def test_any_change_is_harmless(folder: Path) -> None:
    """Flip bits and cut ends: a model comes out, or a CheckpointError."""
    rng = np.random.default_rng(0)
    names = sorted(p.name for p in folder.iterdir())
    for _ in range(200):
        file = folder / names[rng.integers(len(names))]
        whole = file.read_bytes()
        data = bytearray(whole)
        ends = len(data)
        if file.suffix == ".safetensors":  # the header is what can be lied in
            ends = 8 + int.from_bytes(data[:8], "little")
        for at in rng.integers(ends, size=rng.integers(1, 5)):
            data[at] ^= 1 << rng.integers(8)
        if rng.random() < 0.2:
            del data[rng.integers(len(data)) :]
        file.write_bytes(data)
        _load_or_refuse(folder, gm.models.load, gm.models.vocabulary)
        file.write_bytes(whole)


def _load_or_refuse(folder: Path, *calls: Callable) -> None:
    for call in calls:
        try:
            call(folder)
        except CheckpointError:
            continue
