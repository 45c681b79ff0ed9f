from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from genemamba.datasets import Corpus
from genemamba.tokens import FIRST_GENE
from genemamba.train.data import read_batch
from genemamba.train.objectives.profile import Profile
from genemamba.train.recipe import Recipe
from genemamba.train.start import new_model


def test_it_is_the_cross_entropy_of_the_other_half(
    corpus: Corpus, new_recipe: Callable[..., Recipe]
) -> None:
    recipe = new_recipe(objectives={"profile": 1.0, "masked": 0.0, "contrast": 0.0})
    model = new_model(corpus, recipe, np.arange(len(corpus))).eval()
    batch = read_batch(corpus, np.arange(6), recipe, (0,))
    assert batch.profile is not None
    np.testing.assert_allclose(batch.profile.sum(1), 1, rtol=1e-5)
    states = model(batch.ids, batch.segment)
    found = Profile(model, corpus.vocab.n_genes)(model, batch, states)
    losses = []
    for view in range(12):
        vector = states[batch.segment == view].mean(0)
        logits = model.lm_head.weight[FIRST_GENE : FIRST_GENE + corpus.vocab.n_genes] @ vector
        logits = logits + model.lm_head.bias[FIRST_GENE : FIRST_GENE + len(logits)]
        other = batch.profile[(view + 6) % 12]
        losses.append(-(other * logits.log_softmax(0)).sum())
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_what_is_to_be_said_is_not_in_the_input(
    corpus: Corpus, new_recipe: Callable[..., Recipe]
) -> None:
    """With one count a gene, the genes of one half are those the other half lacks."""
    recipe = new_recipe(objectives={"profile": 1.0, "masked": 0.0, "contrast": 0.0})
    for shard in corpus._mapped:
        object.__setattr__(shard, "counts", np.ones_like(shard.counts))
    batch = read_batch(corpus, np.arange(6), recipe, (0,))
    assert batch.profile is not None
    for view in range(12):
        genes = batch.genes[batch.segment == view] - FIRST_GENE
        assert not batch.profile[(view + 6) % 12, genes].any()
