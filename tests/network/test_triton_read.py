"""The Triton kernel in Triton's interpreter, on the CPU; skipped where Triton is not installed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from genemamba.errors import InputError
from genemamba.network import GeneMamba, GeneMambaConfig, selftest
from genemamba.network.inference import placed
from genemamba.network.runtime import Runtime

PROGRAM = """
import torch
from genemamba.network import GeneMamba, GeneMambaConfig
from genemamba.network.inference import placed
from genemamba.network.runtime import Runtime

for merge, length in (("gate", 5), ("mean", 64), ("mean", 150)):
    sizes = dict(d_model=32, n_layers=2, d_state=16, headdim=16)
    config = GeneMambaConfig(vocab_size=50, merge=merge, **sizes)
    model = GeneMamba(config).reset_parameters(0).eval()
    for layer in model.mamba_mixer.layers:
        torch.nn.init.normal_(layer.mamba.D)
        torch.nn.init.normal_(layer.mamba.conv1d.bias)
        torch.nn.init.constant_(layer.mamba.A_log, 3.0)  # some decays reach their bound
    other = placed(model, Runtime("cpu", "float32", "triton"))
    ids = torch.randint(2, 50, (2, length))
    segment = torch.zeros(2, length, dtype=torch.long)
    segment[:, length // 3 :], segment[0, length // 2 :], segment[1, -2:] = 1, 2, -1
    for packed in (None, segment):
        with torch.inference_mode():
            one, two = model(ids, packed), other(ids, packed)
        error = float((one - two).norm() / one.norm())
        assert error < 1e-5, (merge, length, error)
"""


@pytest.mark.skipif(not selftest.installed("triton"), reason="Triton is not installed")
def test_it_reads_what_the_plain_code_reads() -> None:
    # in a process of its own: whether Triton interprets is settled when it is imported
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("sizes", [{"headdim": 24, "d_model": 24}, {"d_state": 8}])
def test_sizes_it_cannot_read(sizes: dict[str, int]) -> None:
    model = GeneMamba(GeneMambaConfig(vocab_size=50, n_layers=1, **{"d_model": 32, **sizes}))
    with pytest.raises(
        InputError, match=r"powers of two from 16, and (headdim is 24|d_state is 8)"
    ):
        placed(model.reset_parameters(0), Runtime("cpu", "float32", "triton"))
