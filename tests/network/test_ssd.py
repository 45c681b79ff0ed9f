from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genemamba.network.ssd import decays, scan

from .recurrence import scan_reference

ROWS, LENGTH, HEADS, WIDTH, STATES = 3, 77, 4, 8, 5


def problem(strength: float, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)

    return {
        "x_RLHP": draw(ROWS, LENGTH, HEADS, WIDTH),
        "dt_RLH": draw(ROWS, LENGTH, HEADS).abs(),
        "A_H": -strength * draw(HEADS).abs(),
        "B_RLN": draw(ROWS, LENGTH, STATES),
        "C_RLN": draw(ROWS, LENGTH, STATES),
    }


def segments() -> Tensor:
    """Several cells in a row, one that fills its row, and padding."""
    s = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    s[0, 20:], s[0, 21:], s[0, 60:] = 1, 2, -1
    s[2, 64:] = 1
    return s


@pytest.mark.parametrize("segment", [None, segments()], ids=["one cell", "packed"])
@pytest.mark.parametrize("chunk", [1, 4, 16, 64, 128])
@pytest.mark.parametrize("strength", [0.1, 3.0, 300.0])
def test_chunked_scan_is_the_recurrence(
    segment: Tensor | None, chunk: int, strength: float
) -> None:
    p = problem(strength)
    error = scan(**p, segment_RL=segment, chunk_size=chunk) - scan_reference(
        **p, segment_RL=segment
    )
    assert error.abs().max() < 1e-9


@pytest.mark.parametrize("strength", [0.1, 3.0, 300.0, 1e5])
def test_strong_decays_do_not_overflow_in_float32(strength: float) -> None:
    exact = scan_reference(**problem(strength))
    fast = scan(**problem(strength, torch.float32), chunk_size=64)
    assert (fast.double() - exact).abs().max() < 1e-4 * exact.abs().max()


def test_gradients_are_those_of_the_recurrence() -> None:
    grads = []
    for f in (scan, scan_reference):
        p = {k: v.requires_grad_() for k, v in problem(1.0).items()}
        f(**p, segment_RL=segments()).square().sum().backward()
        grads.append([v.grad for v in p.values()])
    for ours, plain in zip(*grads, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


def test_no_state_crosses_a_segment() -> None:
    p, s = problem(0.1), segments()
    before = scan(**p, segment_RL=s)
    p["x_RLHP"][0, :21] += 100  # another first and second cell in row 0
    after = scan(**p, segment_RL=s)
    assert torch.equal(before[0, 21:60], after[0, 21:60])
    assert not torch.equal(before[0, :20], after[0, :20])


@pytest.mark.parametrize("strength", [3.0, 30.0, 300.0])
def test_compiled_scans_forget_as_others_do(strength: float) -> None:
    """Under torch.compile no shape depends on data, so all bound the decay of a token alike."""
    p = problem(strength, torch.float32)
    compiled = torch.compile(scan, backend="eager")(**p, segment_RL=segments())
    exact = scan_reference(**problem(strength), segment_RL=segments())
    assert (compiled.double() - exact).abs().max() < 1e-5 * exact.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_decays_are_bounded_at_less_than_a_thousandth(dtype: torch.dtype) -> None:
    dt = torch.tensor([0.0, 0.5, 2.0, 1e6], dtype=dtype)
    left = torch.exp(decays(dt, torch.tensor(-3.0, dtype=dtype)))
    torch.testing.assert_close(left[:3], torch.exp(-3 * dt[:3]))
    assert 4e-4 < left[3] < 5e-4
