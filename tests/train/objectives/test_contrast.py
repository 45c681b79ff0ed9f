from __future__ import annotations

import torch
from torch.nn.functional import normalize

from genemamba.train.objectives.contrast import Contrast
from genemamba.train.objectives.label_tree import LabelTree

T, CD4, B = "CL:0000084", "CL:0000624", "CL:0000236"
NONE = torch.full((64,), -1)


def test_it_is_low_when_the_views_agree() -> None:
    torch.manual_seed(0)
    contrast = Contrast(LabelTree([]))
    cells = 10 * torch.randn(32, 16)
    with torch.no_grad():
        agree = contrast.loss(torch.cat([cells, cells]), NONE)
        differ = contrast.loss(torch.cat([cells, cells.roll(1, 0)]), NONE)
    assert agree < 0.5 < differ


def test_it_is_the_formula_and_possible_relatives_are_no_others() -> None:
    """Worked out view by view; an unlabelled cell is an other of all."""
    torch.manual_seed(0)
    tree = LabelTree([T, CD4, B])
    pooled = torch.randn(8, 5, dtype=torch.float64)
    label = torch.tensor([0, 1, 2, -1] * 2)
    view = normalize(pooled - pooled.mean(0), dim=-1)
    s = (view @ view.T / 0.5).exp()
    related = [{0, 1}, {0, 1}, {2}, set()]
    losses = []
    for i in range(8):
        partner = (i + 4) % 8
        others = [
            j
            for j in range(8)
            if j not in (i, partner) and not (label[i] >= 0 and int(label[j]) in related[label[i]])
        ]
        losses.append(-(s[i, partner] / (s[i, partner] + s[i, others].sum())).log())
    found = Contrast(tree, temperature=0.5).loss(pooled, label)
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_what_a_set_of_views_has_in_common_costs() -> None:
    """A panel that moves all of its cells alike is to be undone by the model."""
    torch.manual_seed(0)
    contrast, cells = Contrast(LabelTree([])), torch.randn(32, 16)
    moved = cells + 3 * torch.randn(16)
    with torch.no_grad():
        alike = contrast.loss(torch.cat([cells, cells]), NONE)
        apart = contrast.loss(torch.cat([cells, moved]), NONE)
    assert apart > 2 * alike
