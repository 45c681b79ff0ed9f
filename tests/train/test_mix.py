from __future__ import annotations

import torch
from torch import nn

from genemamba.train.mix import Mix


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
