from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from genemamba.datasets import Corpus
from genemamba.tokens import FIRST_GENE
from genemamba.train.factors import gene_factors
from genemamba.train.recipe import Recipe
from genemamba.train.start import new_model


def test_factors_are_those_of_a_full_decomposition(corpus: Corpus) -> None:
    cells = np.arange(len(corpus))
    seen = (corpus.rows(cells).toarray() > 0).astype(np.float64)
    seen /= np.sqrt(seen.sum(1, keepdims=True))
    spread = np.sqrt(np.maximum(seen.var(0), 1e-8))
    even = seen / np.maximum(spread, np.median(spread))
    _, strength, genes = np.linalg.svd(even, full_matrices=False)
    expected = (genes[:8].T * strength[:8]) @ genes[:8]
    found = gene_factors(corpus, cells, 8, seed=0).astype(np.float64)
    assert found.shape == (corpus.vocab.n_genes, 8)
    np.testing.assert_allclose(np.mean(found**2), 1, rtol=1e-5)
    found = found @ found.T
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99  # it is a randomised one


def test_a_model_begins_with_them(corpus: Corpus, new_recipe: Callable[..., Recipe]) -> None:
    cells = np.arange(len(corpus))
    model = new_model(corpus, new_recipe(model={"start": "factors"}), cells)
    table = model.embeddings.weight.detach()
    factors = gene_factors(corpus, cells, model.config.d_model, 0)
    assert torch.equal(table[FIRST_GENE : FIRST_GENE + len(factors)], torch.from_numpy(factors))
    ids = torch.randint(FIRST_GENE, len(table), (4, 30))
    spread = model.lm_head(model(ids)).std(-1).mean()
    assert 0.3 < spread < 3  # neither drowned nor saturated
