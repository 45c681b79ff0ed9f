from __future__ import annotations

import torch

from genemamba.model import GeneMamba
from genemamba.train.objectives import CellContrast, gene_loss, pool
from genemamba.train.views import IGNORE


def test_gene_loss_looks_at_the_places_asked_for_only(small_model: GeneMamba) -> None:
    states = torch.randn(2, 6, 32)
    targets = torch.full((2, 6), IGNORE)
    targets[0, 2], targets[1, 5] = 7, 9
    loss = gene_loss(small_model, states, targets)
    states[0, 3] += 100
    assert gene_loss(small_model, states, targets) == loss
    by_hand = -(small_model.lm_head(states[0, 2]).log_softmax(-1)[7]
                + small_model.lm_head(states[1, 5]).log_softmax(-1)[9]) / 2  # fmt: skip
    torch.testing.assert_close(loss, by_hand)


def test_masked_loss_does_not_see_what_it_predicts(small_model: GeneMamba) -> None:
    """Other targets under the same input leave the model's prediction as it was."""
    ids = torch.tensor([[5, 6, small_model.vocab.special("[MASK]"), 8]])
    states = small_model(ids)
    predictions = small_model.lm_head(states)[0, 2].log_softmax(-1)
    for gene in (7, 70, 700):
        targets = torch.tensor([[IGNORE, IGNORE, gene, IGNORE]])
        torch.testing.assert_close(
            gene_loss(small_model, small_model(ids), targets), -predictions[gene]
        )


def test_contrast_is_low_when_the_halves_agree() -> None:
    torch.manual_seed(0)
    contrast = CellContrast(16)
    cells = 10 * torch.randn(32, 16)
    with torch.no_grad():
        agree = contrast(torch.cat([cells, cells]))
        differ = contrast(torch.cat([cells, cells.roll(1, 0)]))
    assert agree < 0.5 < differ


def test_pool_leaves_padding_out() -> None:
    states = torch.arange(8.0).reshape(1, 4, 2)
    torch.testing.assert_close(pool(states, torch.tensor([2])), states[:, :2].mean(1))
