from __future__ import annotations

import torch

from genemamba.train.objectives.contrast import Contrast


def test_it_is_low_when_the_views_agree() -> None:
    torch.manual_seed(0)
    contrast = Contrast()
    cells = 10 * torch.randn(32, 16)
    with torch.no_grad():
        agree = contrast.loss(torch.cat([cells, cells]))
        differ = contrast.loss(torch.cat([cells, cells.roll(1, 0)]))
    assert agree < 0.5 < differ
