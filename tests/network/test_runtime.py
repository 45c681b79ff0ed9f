from __future__ import annotations

import pytest
import torch

from genemamba.errors import InputError
from genemamba.network import runtime, selftest
from genemamba.network.runtime import bfloat16_unit, choose_runtime

ASKED = bfloat16_unit  # tests elsewhere run in float32, whatever the processor: see conftest


def test_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    chosen = choose_runtime()
    assert (chosen.device, chosen.backend) == ("cpu", "numba")
    assert chosen.code == "the package's own code, compiled for the processor"
    assert chosen.why[0] == "no CUDA device" and len(chosen.why) == 2
    assert choose_runtime(backend="torch").code == "the package's own torch code"


@pytest.mark.parametrize(
    ("amx", "avx", "unit"), [(True, True, "AMX"), (False, True, "AVX512"), (False, False, "")]
)
def test_precision_follows_the_processor(
    amx: bool, avx: bool, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "bfloat16_unit", ASKED)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    chosen = choose_runtime("cpu")
    assert chosen.precision == ("bfloat16" if unit else "float32")
    assert unit in chosen.why[1]
    assert choose_runtime("cpu", "float32").precision == "float32"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "bfloat16_unit", ASKED)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("refusal", "backend"), [("", "cuda"), ("they drift", "torch")])
def test_kernels_are_used_if_they_agree(
    refusal: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "refusal", lambda precision, device: refusal)
    chosen = choose_runtime()
    assert (chosen.device, chosen.precision, chosen.backend) == ("cuda", "bfloat16", backend)
    assert refusal in chosen.why[2]
    assert choose_runtime(backend="torch").backend == "torch"


@pytest.mark.usefixtures("gpu")
def test_kernels_that_were_asked_for_and_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "refusal", lambda *asked: "mamba_ssm not installed")
    with pytest.raises(InputError, match=r"backend='cuda': mamba_ssm not .*\n  Fix: pip install"):
        choose_runtime(backend="cuda")
    with pytest.raises(InputError, match="it needs a CUDA device, not 'cpu'"):
        choose_runtime("cpu", backend="cuda")
    with pytest.raises(InputError, match="it needs a CPU, not 'cuda'"):
        choose_runtime("cuda", backend="numba")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:1"])
def test_one_of_several_gpus(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tested = []
    monkeypatch.setattr(selftest, "refusal", lambda *asked: tested.append(asked[1]) or "")
    chosen = choose_runtime(device)
    assert (chosen.device, chosen.kind) == (device, "cuda")
    assert (chosen.precision, chosen.backend) == ("bfloat16", "cuda")
    assert tested == [device]


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cuda:2", "torch finds 2 here.*\n.*'cuda:0' to 'cuda:1'"),
        ("cuda:-1", "is unknown"), ("cuda:", "is unknown"), ("cuda:1,2", "is unknown"),
        ("cpu:1", "is unknown"), ("gpu", "is unknown\n.*'cuda:1'"),
    ],
)  # fmt: skip
def test_a_gpu_that_is_not_there(device: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        choose_runtime(device)


def test_numbers_of_gpus_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="'cuda:1': torch finds none here"):
        choose_runtime("cuda:1")


@pytest.mark.parametrize("name", ["device", "precision", "backend"])
def test_what_is_unknown_is_said(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}='tpu' is unknown\n  Fix: use 'auto', .* or "):
        choose_runtime(**{name: "tpu"})


@pytest.mark.parametrize("size", ["auto", 1, 512])
def test_a_runtime_carries_the_batch_size(size: int | str) -> None:
    assert choose_runtime("cpu", "float32", "torch", size).batch_size == size


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None, "many"])
def test_a_batch_size_that_cannot_be(size: object) -> None:
    with pytest.raises(InputError, match=f"batch_size={size!r} is not a whole number"):
        choose_runtime(batch_size=size)
