from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import rankdata

from genemamba.datasets import Corpus
from genemamba.datasets._factors import gene_factors, gene_vectors
from genemamba.tokens import FIRST_GENE
from genemamba.train.recipe import Recipe
from genemamba.train.start import new_model


def test_factors_are_those_of_a_full_decomposition_within_libraries(corpus: Corpus) -> None:
    cells = np.arange(len(corpus))
    counts = corpus.rows(cells).toarray().astype(np.float64)
    logged = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)
    for library in np.unique(corpus.group):
        logged[corpus.group == library] -= logged[corpus.group == library].mean(0)
    _, strength, genes = np.linalg.svd(logged, full_matrices=False)
    expected = (genes[:3].T * np.sqrt(strength[:3])) @ genes[:3]
    length = np.sqrt(np.diag(expected))
    expected /= np.outer(length, length)
    found = gene_factors(corpus, cells, 3, np.random.default_rng(0))
    assert found.shape == (corpus.vocab.n_genes, 3)
    found = found @ found.T / 3
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99  # turned, and randomised


def test_a_vector_says_where_the_median_stands(corpus: Corpus) -> None:
    vectors = gene_vectors(corpus, np.arange(len(corpus)), 64, seed=0)
    np.testing.assert_allclose(np.mean(vectors**2, axis=1), 1, rtol=1e-5)
    place = rankdata(corpus.vocab.median) / len(vectors)
    near = np.abs(place[:, None] - place) < 0.01
    alike = vectors @ vectors.T / 64
    np.fill_diagonal(near, False)
    assert alike[near].mean() > alike[np.abs(place[:, None] - place) > 0.3].mean() + 0.05


def test_a_model_begins_with_them(corpus: Corpus, new_recipe: Callable[..., Recipe]) -> None:
    cells = np.arange(len(corpus))
    model = new_model(corpus, new_recipe(model={"start": "factors"}), cells)
    table = model.embeddings.weight.detach()
    factors = gene_vectors(corpus, cells, model.config.d_model, 0)
    assert torch.equal(table[FIRST_GENE : FIRST_GENE + len(factors)], torch.from_numpy(factors))
    ids = torch.randint(FIRST_GENE, len(table), (4, 30))
    own = torch.nn.functional.normalize(table[ids], dim=-1)  # the layers add nothing yet
    torch.testing.assert_close(model(ids), own, rtol=1e-2, atol=1e-3)


def test_a_model_begins_by_expecting_common_genes(
    corpus: Corpus, new_recipe: Callable[..., Recipe]
) -> None:
    cells = np.arange(len(corpus))
    model = new_model(corpus, new_recipe(), cells)
    share = model.lm_head.bias.detach().softmax(0)[FIRST_GENE : FIRST_GENE + corpus.vocab.n_genes]
    expressed = (corpus.rows(cells) > 0).sum(axis=0).A1
    np.testing.assert_allclose(share, expressed / expressed.sum(), atol=1e-5)
