from __future__ import annotations

import pytest
import torch

import genemamba as gm
from genemamba import _doctor
from genemamba.network import GeneMamba, selftest
from genemamba.network.runtime import Runtime


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor, "_SECONDS", 0.01)


def test_it_says_what_runs_and_why(small_model: GeneMamba) -> None:
    found = gm.doctor(small_model, device="cpu", precision="float32")
    assert found.passed and 0 < found.drift < selftest.TOLERANCE["float32"]
    assert found.runtime == Runtime("cpu", "float32", "numba") and found.cells_per_second > 0
    text = str(found)
    for said in (
        "runs on    cpu, float32\n",
        "(device='cpu' was given)\n",
        "self-test  passed: within ",
        f"torch {torch.__version__.partition('+')[0]}",
        "cells of 1,000 genes a second with your model",
    ):
        assert said in text
    assert repr(found) == text


def test_a_failed_self_test_is_loud(
    small_model: GeneMamba, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "self_test", lambda *args: 0.3)
    found = gm.doctor(small_model)
    assert not found.passed and "FAILED: not within 3e-01 of float64" in str(found)


@pytest.mark.parametrize(
    ("versions", "device", "advice"),
    [
        ({"lightning-fabric": "2.6"}, "cpu", []),
        ({}, "cpu", ["pip install 'genemamba[train]'"]),
        ({"lightning-fabric": "2.6"}, "cuda", ["pip install 'genemamba[cuda]'"]),
        ({"lightning-fabric": "2.6", "pynndescent": "0.7.0"}, "cpu", ["'pynndescent!=0.7.0'"]),
    ],
)
def test_advice_is_a_command(
    versions: dict[str, str], device: str, advice: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    given = _doctor._advice(versions, Runtime(device, "float32"))
    assert len(given) == len(advice)
    assert all(part in line for part, line in zip(advice, given, strict=True))
