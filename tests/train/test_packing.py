from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse

from genemamba.network import GeneMamba
from genemamba.network.packed import pool
from genemamba.tokens import FIRST_GENE, PAD
from genemamba.train.packing import Batch, first_fit, make_batch
from genemamba.train.recipe import Recipe
from genemamba.train.task import Task
from genemamba.train.views import Views


def views_of(model: GeneMamba, lengths: list[int]) -> Views:
    rng = np.random.default_rng(0)
    assert model.vocab is not None
    n_genes = model.vocab.n_genes
    rankings = [rng.permutation(n_genes)[:n] + FIRST_GENE for n in lengths]
    expression = sparse.csr_matrix(rng.poisson(1.0, (len(lengths), n_genes)))
    return Views(rankings, expression, np.ones((2, n_genes), dtype=bool))


def padded(batch: Batch) -> Batch:
    """The same views, each in a row of its own."""
    n = [int((batch.segment == v).sum()) for v in range(batch.n_views)]
    rows = {f: torch.full((len(n), max(n)), PAD if f in ("ids", "genes") else -1)
            for f in ("ids", "genes", "segment")}  # fmt: skip
    rows["asked"] = torch.zeros(len(n), max(n), dtype=torch.bool)
    for view, length in enumerate(n):
        for name, values in rows.items():
            values[view, :length] = getattr(batch, name)[batch.segment == view]
    return batch._replace(**rows)


def test_views_find_places_that_do_not_overlap() -> None:
    lengths = np.random.default_rng(0).integers(0, 65, 200)
    begins, rows = first_fit(lengths, 64)
    taken = np.zeros(rows * 64, dtype=int)
    for begin, n in zip(begins, lengths, strict=True):
        assert n == 0 or begin // 64 == (begin + n - 1) // 64
        taken[begin : begin + n] += 1
    assert taken.max() == 1
    assert lengths.sum() / len(taken) > 0.9


def test_every_gene_stands_in_its_view(small_model: GeneMamba) -> None:
    views = views_of(small_model, [5, 0, 12, 7])
    batch = make_batch(views, small_model.vocab, np.random.default_rng(0), row=16, ask=0, hide=True)
    for number, view in enumerate(views.rankings):
        np.testing.assert_array_equal(batch.genes[batch.segment == number], view)
    assert (batch.ids[batch.segment < 0] == PAD).all()
    assert torch.equal(batch.ids, batch.genes)


def test_packed_and_padded_give_equal_losses(
    small_model: GeneMamba, new_recipe: Callable[..., Recipe]
) -> None:
    weights = {"masked": 1.0, "contrast": 1.0, "next": 1.0, "profile": 1.0}
    torch.manual_seed(0)
    task = Task(small_model, new_recipe(objectives=weights)).double()
    views = views_of(small_model, [30, 17, 5, 22, 9, 30, 12, 26])
    batch = make_batch(
        views, small_model.vocab, np.random.default_rng(0), row=40, ask=0.3, hide=True, profile=True
    )
    other = padded(batch)
    assert len(batch.ids) < len(other.ids)
    torch.testing.assert_close(task(batch), task(other), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(
        task(batch, pooled=True), task(other, pooled=True), atol=1e-9, rtol=1e-9
    )


def test_pool_leaves_padding_out() -> None:
    states = torch.arange(8.0).reshape(1, 4, 2)
    segment = torch.tensor([[1, 1, 0, -1]])
    expected = torch.stack([states[0, 2], states[0, :2].mean(0), torch.zeros(2)])
    torch.testing.assert_close(pool(states, segment, 3), expected)
