"""The Triton experiment: in Triton's interpreter on the CPU, and on a GPU where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROGRAM = """
import sys
from copy import deepcopy
import torch
from _triton_read import use
from genemamba.network import GeneMamba, GeneMambaConfig
from genemamba.network.inference import placed
from genemamba.network.runtime import Runtime

device, precision, most = sys.argv[1], sys.argv[2], float(sys.argv[3])
runtime = Runtime(device, precision)
if device == "cpu":  # Triton 3.6 takes int() of an array with one number; NumPy 2.4 forbids it
    from triton.runtime import interpreter
    patch = interpreter._patch_lang_tensor

    def patch_again(tensor, *scope):
        patch(tensor, *scope)
        tensor.__index__ = lambda self: self.handle.data.item()

    interpreter._patch_lang_tensor = patch_again
for merge, length in (("gate", 5), ("mean", 64), ("mean", 150)):
    sizes = dict(d_model=32, n_layers=2, d_state=16, headdim=16)
    config = GeneMambaConfig(vocab_size=50, merge=merge, **sizes)
    model = GeneMamba(config).reset_parameters(0).eval()
    for layer in model.mamba_mixer.layers:
        torch.nn.init.normal_(layer.mamba.D)
        torch.nn.init.normal_(layer.mamba.conv1d.bias)
        torch.nn.init.constant_(layer.mamba.A_log, 3.0)  # some decays reach their bound
    plain, other = placed(model, runtime), use(placed(deepcopy(model), runtime))
    ids = torch.randint(2, 50, (2, length))
    segment = torch.zeros(2, length, dtype=torch.long)
    segment[:, length // 3 :], segment[0, length // 2 :], segment[1, -2:] = 1, 2, -1
    for packed in (None, segment):
        with torch.inference_mode():
            given = (ids.to(device), None if packed is None else packed.to(device))
            one, two = plain(*given).float(), other(*given).float()
        error = float((one - two).norm() / one.norm())
        print(device, precision, merge, length, error)
        assert 0 < error < most, (merge, length, error)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.parametrize(
    ("device", "precision", "most"),
    [("cpu", "float32", 1e-5), ("cuda", "float32", 1e-4), ("cuda", "bfloat16", 3e-2)],
)
def test_it_reads_what_the_plain_code_reads(device: str, precision: str, most: float) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    # in a process of its own: whether Triton interprets is settled when it is imported
    interpret = {"TRITON_INTERPRET": "1"} if device == "cpu" else {}
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, device, precision, str(most)], cwd=BENCHMARKS,
        env=os.environ | interpret, capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(found.stdout)
    assert found.returncode == 0, found.stderr
