from __future__ import annotations

import numpy as np
import pytest
import torch

from genemamba.errors import InputError
from genemamba.network import GeneMamba, GeneMambaConfig
from genemamba.network.attribution import attribute_tokens
from genemamba.network.runtime import Runtime
from genemamba.tokens import FIRST_GENE, Ranked, Vocabulary

METHODS = ("gradient_x_input", "integrated_gradients")


@pytest.fixture
def model() -> GeneMamba:
    ids = [f"ENSG{i:011d}" for i in range(40)]
    vocab = Vocabulary(ids, [""] * 40, median=[1.0] * 40, alias=[""] * 40)
    config = GeneMambaConfig(
        vocab_size=len(vocab), d_model=32, n_layers=2, d_state=8, headdim=16, chunk_size=16,
        merge="mean", pre_norm=True,
    )  # fmt: skip
    model = GeneMamba(config).reset_parameters(0).eval()
    model.vocab = vocab
    with torch.no_grad():  # as far apart as trained ones
        model.embeddings.weight.mul_(30)
    return model


@pytest.fixture
def cells() -> Ranked:
    rng = np.random.default_rng(0)
    sizes = [12, 0, 30, 7, 1, 23]
    tokens = [rng.permutation(40)[:n] + FIRST_GENE for n in sizes]
    indptr = np.append(0, np.cumsum(sizes))
    return Ranked(np.concatenate(tokens).astype(np.int32), indptr, np.ones(6), np.ones(6))


@pytest.fixture
def weights() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, 32)).astype(np.float32)


def rows(model: GeneMamba) -> tuple[torch.Tensor, torch.Tensor]:
    table = model.embeddings.weight.detach()
    return table, table[FIRST_GENE : FIRST_GENE + 40].mean(dim=0)


@pytest.mark.parametrize("method", METHODS)
def test_of_a_linear_model_it_is_known(model, cells, weights, method):
    matrix = torch.randn(32, 32, generator=torch.Generator().manual_seed(0))
    model.read = lambda x, segment: x @ matrix
    found = attribute_tokens(model, cells, weights, method=method)
    table, base = rows(model)
    for i, (a, b) in enumerate(zip(cells.indptr[:-1], cells.indptr[1:], strict=True)):
        away = table[torch.from_numpy(cells.tokens[a:b]).long()] - base
        expected = away @ matrix @ torch.from_numpy(weights[i]) / max(b - a, 1)
        np.testing.assert_allclose(found.values[a:b], expected, rtol=1e-3, atol=1e-4)


def test_gradient_is_that_of_finite_differences(model, cells, weights):
    found = attribute_tokens(model, cells, weights, method="gradient_x_input")
    table, base = rows(model)
    first, last = cells.indptr[3:5]
    x = table[torch.from_numpy(cells.tokens[first:last]).long()]
    step = 1e-2
    for place in range(last - first):
        ends = []
        for sign in (1, -1):
            moved = x.clone()
            moved[place] += sign * step * (x[place] - base)
            with torch.inference_mode():
                mean = model.read(moved[None], None).mean(dim=1)[0]
            ends.append(float(mean @ torch.from_numpy(weights[3])))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert found.values[first + place] == pytest.approx(slope, rel=2e-2, abs=2e-3)


def test_integrated_gradients_are_complete(model, cells, weights):
    found = attribute_tokens(model, cells, weights, method="integrated_gradients", steps=64)
    sums = [found.values[a:b].sum() for a, b in zip(cells.indptr, cells.indptr[1:], strict=False)]
    difference = found.at_cell - found.at_baseline
    there = cells.lengths > 0
    np.testing.assert_allclose(np.array(sums)[there], difference[there], rtol=1e-2, atol=1e-3)
    assert np.isnan(difference[~there]).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_cell_alone_as_among_others(model, cells, weights, method):
    together = attribute_tokens(model, cells, weights, method=method, steps=8)
    for i in np.flatnonzero(cells.lengths):
        alone = attribute_tokens(
            model, cells.take(np.array([i])), weights[[i]], method=method, steps=8
        )
        own = together.values[cells.indptr[i] : cells.indptr[i + 1]]
        np.testing.assert_allclose(alone.values, own, rtol=1e-3, atol=1e-5)
        assert alone.at_cell[0] == pytest.approx(together.at_cell[i], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_batches_change_nothing(model, cells, weights, batch_size):
    one, other = (
        attribute_tokens(
            model, cells, weights, steps=4, runtime=Runtime("cpu", "float32", "numba", size)
        )
        for size in (batch_size, "auto")
    )
    np.testing.assert_allclose(one.values, other.values, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(one.at_cell, other.at_cell, rtol=1e-4, atol=1e-5)


def test_refused(model, cells, weights):
    with pytest.raises(InputError, match="method='shap'"):
        attribute_tokens(model, cells, weights, method="shap")
    with pytest.raises(InputError, match="steps=0 is not"):
        attribute_tokens(model, cells, weights, steps=0)
