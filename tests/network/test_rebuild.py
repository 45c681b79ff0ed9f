"""Rebuilding cells, beside plain loops over one cell at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.network.rebuild import (
    names_next_gene,
    rebuild_as_published,
    rebuild_hidden,
    rebuild_next,
)
from genemamba.network.runtime import Runtime
from genemamba.tokens import Ranked
from genemamba.tokens.reconstruction import after_prefix, choose_hidden

CPU = Runtime("cpu", "float32")
MEASURED = np.arange(60) + 2  # the model knows 80 genes


@pytest.fixture
def model(new_model: Callable[..., GeneMamba]) -> GeneMamba:
    return new_model([f"G{i}" for i in range(80)])


@pytest.fixture
def cells() -> Ranked:
    rng = np.random.default_rng(0)
    rows = [rng.permutation(60)[:n] + 2 for n in (30, 12, 25, 9, 30)]
    indptr = np.append(0, np.cumsum([len(r) for r in rows])).astype(np.int64)
    return Ranked(np.concatenate(rows).astype(np.int32), indptr, np.ones(5), np.ones(5))


def rows(ranked: Ranked) -> list[np.ndarray]:
    return np.split(ranked.tokens, ranked.indptr[1:-1])


@torch.no_grad()
def test_hidden_genes_by_hand(model: GeneMamba, cells: Ranked) -> None:
    hidden = choose_hidden(cells, 0.3, np.random.default_rng(1))
    rebuilt = rebuild_hidden(model, cells, hidden, MEASURED, runtime=CPU)
    for i, (cell, where) in enumerate(
        zip(rows(cells), np.split(hidden, cells.indptr[1:-1]), strict=True)
    ):
        ids = torch.from_numpy(np.where(where, model.vocab.special("[MASK]"), cell)).long()
        logits = model.lm_head(model(ids[None])[0])[where]
        allowed = np.setdiff1d(MEASURED, cell[~where])
        p = torch.full_like(logits, -torch.inf)
        p[:, allowed] = logits[:, allowed]
        p = p.softmax(-1)
        expected = p.sum(0).topk(where.sum()).indices
        assert set(rebuilt.cell(i)[where].tolist()) == set(expected.tolist())
        np.testing.assert_array_equal(rebuilt.cell(i)[~where], cell[~where])
        part = slice(cells.indptr[i], cells.indptr[i + 1])
        place = np.flatnonzero(where) + 1.0
        weight = p[:, cell[where]] / p[:, cell[where]].sum(0)
        np.testing.assert_allclose(rebuilt.rank[part][where], place @ weight.numpy(), rtol=1e-4)
        better = (p > p.gather(1, torch.from_numpy(cell[where])[:, None].long())).sum(1)
        np.testing.assert_array_equal(rebuilt.likely[part][where], (better < 50).numpy())


@torch.no_grad()
def test_the_published_protocol_is_the_likeliest_gene_at_each_place(
    model: GeneMamba, cells: Ranked
) -> None:
    rebuilt = rebuild_as_published(model, cells, runtime=CPU)
    for i, cell in enumerate(rows(cells)):
        logits = model.lm_head(model(torch.from_numpy(cell)[None].long())[0])[:, 2:82]
        np.testing.assert_array_equal(rebuilt.cell(i), logits.argmax(-1).numpy() + 2)


@torch.no_grad()
@pytest.mark.parametrize("objective", ["masked genes", "next gene"])
def test_gene_after_gene_equals_reading_all_anew(
    model: GeneMamba, cells: Ranked, objective: str
) -> None:
    model.provenance["objective"] = objective
    for layer in model.mamba_mixer.layers:
        layer.bidirectional = False  # so that the model itself reads forwards
    asked = after_prefix(cells, 0.3)
    rebuilt = rebuild_next(model, cells, asked, MEASURED, runtime=CPU)
    for i, (cell, where) in enumerate(
        zip(rows(cells), np.split(asked, cells.indptr[1:-1]), strict=True)
    ):
        said = cell[~where].tolist()
        while len(said) < len(cell):
            ask = [model.vocab.special("[MASK]")] if objective == "masked genes" else []
            logits = model.lm_head(model(torch.tensor([said + ask]))[0, -1])
            allowed = np.setdiff1d(MEASURED, said)
            said.append(int(allowed[logits[allowed].argmax()]))
        np.testing.assert_array_equal(rebuilt.cell(i), said)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batches_change_nothing(model: GeneMamba, cells: Ranked, batch_size: int) -> None:
    hidden, asked = choose_hidden(cells, 0.3, np.random.default_rng(1)), after_prefix(cells, 0.3)

    def all_three(size: int | str) -> list[np.ndarray]:
        settings = {"runtime": Runtime("cpu", "float32", batch_size=size)}
        return [
            rebuild_hidden(model, cells, hidden, MEASURED, **settings).tokens,
            rebuild_as_published(model, cells, **settings).tokens,
            rebuild_next(model, cells, asked, MEASURED, **settings).tokens,
        ]

    for one, other in zip(all_three(batch_size), all_three("auto"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_the_head_names(model: GeneMamba) -> None:
    assert not names_next_gene(model)  # it has a [MASK]
    model.provenance["objective"] = "next gene"
    assert names_next_gene(model)


def test_a_model_without_mask_cannot_name_hidden_genes(
    cells: Ranked, new_model: Callable[..., GeneMamba]
) -> None:
    model = new_model([f"G{i}" for i in range(80)], extra=("[CLS]",))
    assert names_next_gene(model)
    hidden = choose_hidden(cells, 0.3, np.random.default_rng(1))
    with pytest.raises(InputError, match="no \\[MASK\\]"):
        rebuild_hidden(model, cells, hidden, MEASURED, runtime=CPU)
