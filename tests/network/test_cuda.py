"""Kernels on a GPU next to the plain code; skipped without one (`benchmarks/gpu_check.sh`)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from genemamba.errors import InputError
from genemamba.network import GeneMamba, GeneMambaConfig, kernels, selftest
from genemamba.network.backend import Backend
from genemamba.network.inference import embed_tokens, placed
from genemamba.network.mamba2 import Mamba2
from genemamba.network.runtime import Runtime
from genemamba.tokens import Ranked

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or not all(map(selftest.installed, selftest.PACKAGES)),
    reason="no CUDA device with mamba-ssm and causal-conv1d",
)
WIDE = GeneMambaConfig(vocab_size=100, d_model=512, n_layers=1)
LENGTH = 2_048


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
    assert distance(found[real], expected[real]) < 1e-4


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_rows_around_what_32_bits_count(beyond: int) -> None:
    """The first and last rows of a huge batch are what they are alone."""
    rows = kernels.most_rows(WIDE, LENGTH) + beyond
    some, mixer = [0, rows - 2, rows - 1], wide_mixer()
    with torch.inference_mode():
        xbc, dt = drawn(rows, WIDE.d_xbc), drawn(rows, WIDE.n_heads)
        together = mixer.mix(xbc, dt, None)[some]
        alone = mixer.mix(xbc[some], dt[some], None)
    torch.testing.assert_close(together, alone, rtol=0, atol=0.02)


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_gradients_around_what_32_bits_count(beyond: int) -> None:
    rows = kernels.most_rows(WIDE, LENGTH) + beyond
    some, mixer = [0, rows - 2, rows - 1], wide_mixer()
    given = [drawn(rows, WIDE.d_xbc), drawn(rows, WIDE.n_heads)]
    grad_output = drawn(rows, WIDE.d_inner)
    together = gradients(mixer, given, grad_output)
    alone = gradients(mixer, [t[some] for t in given], grad_output[some])
    for one, other in zip(together, alone, strict=True):
        assert distance(one[some], other) < selftest.TOLERANCE["bfloat16"]


def test_a_row_just_short_enough_and_one_too_long() -> None:
    """The last cell of a row as long as 32 bits count is what it is alone."""
    length = (2**31 - 1) // (WIDE.d_inner + WIDE.d_xbc + WIDE.n_heads)
    last, mixer = length % LENGTH or LENGTH, wide_mixer()
    segment = (torch.arange(length, device="cuda") // LENGTH)[None]
    with torch.inference_mode():
        xbc, dt = drawn(1, WIDE.d_xbc, length), drawn(1, WIDE.n_heads, length)
        packed = mixer.mix(xbc, dt, segment)[:, -last:]
        alone = mixer.mix(xbc[:, -last:], dt[:, -last:], None)
    assert distance(packed, alone) < selftest.TOLERANCE["bfloat16"]
    with pytest.raises(InputError, match="too long for the kernels"):
        kernels.most_rows(WIDE, length + 1)


@pytest.mark.parametrize("beyond", [0, 1])
def test_integer_batch_sizes_around_what_32_bits_count(beyond: int) -> None:
    """Both directions are rows of one batch, so half as many cells reach the bound."""
    size = kernels.most_rows(WIDE, LENGTH) // 2 + beyond
    tokens = np.random.default_rng(0).integers(2, 100, size * LENGTH, dtype=np.int32)
    cells = Ranked(tokens, LENGTH * np.arange(size + 1), np.ones(size), np.ones(size))
    model = GeneMamba(WIDE).reset_parameters(0).eval()
    huge, small = (
        embed_tokens(model, cells, runtime=Runtime("cuda", "bfloat16", "cuda", n), progress=False)
        for n in (size, 16)
    )
    assert np.isfinite(huge).all()
    np.testing.assert_allclose(huge, small, rtol=0, atol=0.02 * np.abs(small).max())


def wide_mixer() -> Mamba2:
    mixer = Mamba2(WIDE)
    mixer.reset_parameters(torch.Generator().manual_seed(0), 1)
    mixer.backend = "cuda"
    return mixer.cuda().bfloat16()


def drawn(rows: int, width: int, length: int = LENGTH) -> Tensor:
    return torch.randn(rows, length, width, device="cuda", dtype=torch.bfloat16)


def gradients(mixer: Mamba2, given: list[Tensor], grad_output: Tensor) -> tuple[Tensor, ...]:
    given = [t.clone().requires_grad_() for t in given]
    return torch.autograd.grad(mixer.mix(*given, None), given, grad_output)


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected.float()).norm() / expected.float().norm())
