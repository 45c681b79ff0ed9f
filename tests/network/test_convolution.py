from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genemamba.network.convolution import convolve

SEGMENTS = {
    "one cell": None,
    "padded": [[0, 0, 0, 0, 0, 0, -1, -1], [0, 0, -1, -1, -1, -1, -1, -1]],
    "packed": [[0, 1, 1, 2, 2, 2, 2, -1], [5, 5, 5, 5, 4, 3, 3, 3]],
}


def by_hand(x: Tensor, weight: Tensor, bias: Tensor, segment: Tensor | None) -> Tensor:
    rows = []
    for r in range(x.shape[0]):
        for t in range(x.shape[1]):
            total = bias
            for back in range(min(weight.shape[1], t + 1)):
                if segment is None or segment[r, t - back] == segment[r, t]:
                    total = total + weight[:, -1 - back] * x[r, t - back]
            rows.append(total)
    return torch.stack(rows).reshape(x.shape)


@pytest.mark.parametrize("length", [1, 2, 3, 8])
@pytest.mark.parametrize("name", SEGMENTS)
def test_values_and_gradients_are_those_of_a_loop(name: str, length: int) -> None:
    rows = SEGMENTS[name]
    segment = None if rows is None else torch.tensor(rows)[:, -length:]
    torch.manual_seed(0)
    x, weight, bias = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((2, length, 6), (6, 4), (6,))
    )
    expected, found = by_hand(x, weight, bias, segment), convolve(x, weight, bias, segment)
    torch.testing.assert_close(found, expected)
    grad = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(found, (x, weight, bias), grad),
        torch.autograd.grad(expected, (x, weight, bias), grad),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_the_operator_is_sound() -> None:
    x, weight, bias = torch.randn(2, 8, 6), torch.randn(6, 4), torch.randn(6)
    for tensor in (x, weight, bias):
        tensor.requires_grad_()
    for rows in SEGMENTS.values():
        segment = None if rows is None else torch.tensor(rows)
        torch.library.opcheck(convolve, (x, weight, bias, segment))


def test_a_neighbour_of_another_cell_cannot_be_heard_at_all() -> None:
    segment = torch.tensor(SEGMENTS["packed"])
    x, weight, bias = torch.randn(2, 8, 6), torch.randn(6, 4), torch.randn(6)
    before = convolve(x, weight, bias, segment)
    wild = torch.where((segment == 2)[..., None], torch.inf, x)
    after = convolve(wild, weight, bias, segment)
    assert torch.equal(before[segment != 2], after[segment != 2])
