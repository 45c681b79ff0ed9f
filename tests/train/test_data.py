"""Exact epochs, and the same data whoever takes them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import numpy as np
import pytest
import torch

from genemamba.datasets import Corpus
from genemamba.errors import InputError
from genemamba.train.data import Stream, read_batch, split
from genemamba.train.recipe import Recipe

NewRecipe = Callable[..., Recipe]


def stream(corpus: Corpus, recipe: Recipe, rank: int = 0, world: int = 1) -> Stream:
    return Stream(corpus, recipe, split(corpus, recipe).training, rank, world)


def test_an_epoch_has_every_cell_once(corpus: Corpus, new_recipe: NewRecipe) -> None:
    """Micro-batches are of one library, nearly equal, and come in another order each epoch."""
    recipe = new_recipe(optimiser={"steps": 0, "epochs": 2}, data={"micro_batches": 3})
    data = stream(corpus, recipe)
    for epoch in (0, 1):
        parts = data.epoch(epoch)
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), data.training)
        assert {len(np.unique(corpus.group[cells])) for cells in parts} == {1}
        assert {len(cells) for cells in parts} <= {14, 15, 16}
    assert [c.tolist() for c in data.epoch(0)] != [c.tolist() for c in data.epoch(1)]
    per_epoch = len(data.epoch(0))
    assert data.steps == -(-2 * per_epoch // 3)
    taken = list(chain.from_iterable(data.cells(step) for step in range(data.steps)))
    seen = np.concatenate(taken[: 2 * per_epoch])
    assert set(np.bincount(seen, minlength=len(corpus))[data.training]) == {2}


def test_processes_share_out_the_steps_of_one(corpus: Corpus, new_recipe: NewRecipe) -> None:
    recipe = new_recipe(data={"micro_batches": 4}, optimiser={"steps": 3})
    alone = list(stream(corpus, recipe).from_step(0))
    both = [list(stream(corpus, recipe, rank, 2).from_step(0)) for rank in (0, 1)]
    assert [step for step, _ in alone] == [0, 1, 2]
    for (_, batches), *parts in zip(alone, *both, strict=True):
        for number, batch in enumerate(batches):
            other = parts[number % 2][1][number // 2]
            assert all(torch.equal(a, b) for a, b in zip(batch[:4], other[:4], strict=True))
    later = list(stream(corpus, recipe).from_step(2))
    assert torch.equal(later[0][1][0].ids, alone[2][1][0].ids)
    with pytest.raises(InputError, match="multiple of 3"):
        stream(corpus, recipe, 0, 3)


def test_what_is_held_out_is_never_trained_on(corpus: Corpus, new_recipe: NewRecipe) -> None:
    cells = split(corpus, new_recipe(data={"held_out": ["cells/b"]}))
    assert set(corpus.group[cells.studies]) == {1}
    assert len(cells.studies) == 350
    assert set(corpus.group[np.r_[cells.training, cells.share]]) == {0}
    assert 20 < len(cells.share) < 90
    everything = np.concatenate([cells.training, cells.studies, cells.share])
    assert sorted(everything) == list(range(len(corpus)))


@pytest.mark.parametrize(
    ("held_out", "said"),
    [(["cells/c"], "did you mean 'cells/"), (["cells"], "no library .* 8 cells to train on")],
)
def test_what_cannot_be_held_out(
    corpus: Corpus, new_recipe: NewRecipe, held_out: list[str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        split(corpus, new_recipe(data={"held_out": held_out}))


def test_pairs_are_of_one_label_and_of_two_libraries(
    labelled: Corpus, new_recipe: NewRecipe
) -> None:
    recipe = new_recipe(data={"pairs": 0.5})
    data = stream(labelled, recipe)
    pairs = [cells for cells in data.epoch(0) if cells.ndim == 2]
    assert len(pairs) == len(data.epoch(0)) - len(pairs)
    for first, second in pairs:
        np.testing.assert_array_equal(labelled.label[first], labelled.label[second])
        assert (labelled.group[first] != labelled.group[second]).all()
    found = {labelled.labels[i] for i in labelled.label[np.concatenate(pairs, axis=1)].ravel()}
    assert found == {"CL:0000084", "CL:0000236"}  # and no NK cell
    batch = read_batch(labelled, pairs[0], recipe, (0, 0, 0))
    n = batch.n_views // 2
    assert torch.equal(batch.label[:n], batch.label[n:])
    with pytest.raises(InputError, match=r"no label .* two libraries"):
        stream(labelled, new_recipe(data={"pairs": 0.5, "held_out": ["cells/b", "types"]})).epoch(0)
