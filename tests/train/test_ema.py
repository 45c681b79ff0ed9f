from __future__ import annotations

import torch
from torch import nn

from genemamba.train.ema import Ema, Mix


def test_it_is_the_average_and_gives_the_weights_back() -> None:
    module = nn.Linear(2, 1, bias=False)
    ema = Ema(module, 0.5)
    expected = module.weight.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            module.weight.fill_(step)
        keep = min(0.5, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * step
        ema.update()
    with ema.used():
        torch.testing.assert_close(module.weight.detach(), expected)
    assert (module.weight == 29).all()
    other = Ema(nn.Linear(2, 1, bias=False), 0.5)
    other.load_state_dict(ema.state_dict())
    assert other.taken == 29
    torch.testing.assert_close(other.average["weight"], expected)


def test_a_mix_with_the_first_weights() -> None:
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    module[1].weight = module[0].weight  # tied: one weight, two names
    first = module[0].weight.detach().clone()
    mix = Mix(module, 0.25)
    with torch.no_grad():
        module[0].weight.fill_(3.0)
    with mix.used():
        torch.testing.assert_close(module[1].weight.detach(), 0.25 * first + 2.25)
    assert (module[0].weight == 3).all()
    mixed = mix.of(module.state_dict())
    assert list(mixed) == ["0.weight", "1.weight"]
    torch.testing.assert_close(mixed["1.weight"], 0.25 * first + 2.25)
