"""Kernels on a GPU beside the plain code; skipped where there is none (`benchmarks/gpu.sh`)."""

from __future__ import annotations

import pytest
import torch

from genemamba.network import GeneMamba, GeneMambaConfig, kernels, selftest
from genemamba.network.backend import Backend
from genemamba.network.inference import placed
from genemamba.network.mamba2 import Mamba2
from genemamba.network.runtime import Runtime

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or not all(map(selftest.installed, selftest.PACKAGES)),
    reason="no CUDA device with mamba-ssm and causal-conv1d",
)
WIDE = GeneMambaConfig(vocab_size=100, d_model=512, n_layers=1)


@pytest.mark.parametrize("backend", ["cuda", "torch"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_outputs_and_gradients_are_those_of_float64(precision: str, backend: Backend) -> None:
    assert selftest.self_test("cuda", precision, backend) < selftest.TOLERANCE[precision]


@pytest.mark.parametrize("merge", ["gate", "mean"])
def test_a_packed_model_reads_the_same(merge: str) -> None:
    config = GeneMambaConfig(vocab_size=100, d_model=128, n_layers=3, merge=merge)
    model = GeneMamba(config).reset_parameters(0).eval()
    ids = torch.randint(2, 100, (2, 700), generator=torch.Generator().manual_seed(0))
    segment = torch.tensor([0, 1, 2, -1]).repeat_interleave(torch.tensor([300, 30, 290, 80]))
    segment = segment.expand(2, -1)
    with torch.inference_mode():
        expected = model(ids, segment)
        found = placed(model, Runtime("cuda", "float32", "cuda"))(ids.cuda(), segment.cuda()).cpu()
    real = segment >= 0
    assert float((found - expected)[real].norm() / expected[real].norm()) < 1e-4


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_rows_around_what_32_bits_count(beyond: int) -> None:
    """The last row of a huge batch is what it is alone."""
    length = 2_048
    rows = kernels.most_rows(WIDE, length) + beyond
    mixer = Mamba2(WIDE)
    mixer.reset_parameters(torch.Generator().manual_seed(0), 1)
    mixer = mixer.cuda().bfloat16()
    mixer.backend = "cuda"
    with torch.inference_mode():
        xbc = torch.randn(rows, length, WIDE.d_xbc, device="cuda", dtype=torch.bfloat16)
        dt = torch.randn(rows, length, WIDE.n_heads, device="cuda", dtype=torch.bfloat16)
        together = mixer.mix(xbc, dt, None)[-2:].clone()
        alone = mixer.mix(xbc[-2:].contiguous(), dt[-2:].contiguous(), None)
    torch.testing.assert_close(together, alone, rtol=0, atol=0.02)
