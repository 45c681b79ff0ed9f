"""Evaluation on held-out cells."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genemamba.datasets import Corpus
from genemamba.train.data import FEWEST, CorpusSplit, read_batch
from genemamba.train.packing import ViewBatch, make_batch
from genemamba.train.recipe import Data, Recipe
from genemamba.train.views import draw

_CELLS, _LIBRARIES = 32, 32
_PART_TOKENS = 512  # embeddings are evaluated on more genes than a step reads


class Validation:
    """Evaluates on held-out studies, and on held-out cells of the others, library by library.

    Views are drawn once, so only the weights change the scores.
    """

    def __init__(self, corpus: Corpus, recipe: Recipe, split: CorpusSplit) -> None:
        self.held_out = {
            name: [
                (read_batch(corpus, own, recipe, (recipe.run.seed,)), _parts(corpus, own, recipe))
                for own in _by_library(corpus.group, cells)
            ]
            for name, cells in (("study", split.studies), ("share", split.share))
        }

    def scores(
        self,
        task: Callable[..., Tensor],
        names: tuple[str, ...],
        place: Callable[[Any], Any],
        weights: AbstractContextManager[None] | None = None,
    ) -> dict[str, float]:
        """Return each loss, and how often one part of a cell is nearest to its other part.

        `task` returns losses (or vectors, with ``pooled=True``), named by `names`; `place` moves a
        batch to the device; `weights` is a context with the weights to evaluate.
        """
        found: dict[str, float] = {}
        with torch.no_grad(), weights or nullcontext():
            for which, batches in self.held_out.items():
                rows = [
                    [*task(place(batch)).tolist(), _found(task(place(pair), pooled=True))]
                    for batch, pair in batches
                ]
                if rows:
                    means = np.mean(rows, axis=0).tolist()
                    labels = (f"{which}_{name}" for name in (*names, "found"))
                    found |= dict(zip(labels, means, strict=True))
        return found

    def columns(self, names: tuple[str, ...]) -> list[str]:
        """Return the names of all scores."""
        return [
            f"{which}_{n}"
            for which, rows in self.held_out.items()
            if rows
            for n in (*names, "found")
        ]


def _by_library(group: np.ndarray, cells: np.ndarray) -> list[np.ndarray]:
    """Return up to 32 cells of each of up to 32 libraries."""
    libraries, number = np.unique(group[cells], return_counts=True)
    enough = libraries[number >= FEWEST]
    step = max(1, -(-len(enough) // _LIBRARIES))
    return [cells[group[cells] == library][:_CELLS] for library in enough[::step]]


def _parts(corpus: Corpus, cells: np.ndarray, recipe: Recipe) -> ViewBatch:
    rng = np.random.default_rng(recipe.run.seed)
    settings = Data(length=_PART_TOKENS)
    measured = corpus.measured[np.unique(corpus.group[cells])].all(axis=0)
    views = draw(settings, (corpus.rows(cells),), (measured,), corpus.vocab, rng)
    return make_batch(views, corpus.vocab, rng, row=_PART_TOKENS, target_fraction=0.0, hide=False)


def _found(pooled_SD: Tensor) -> float:
    """Return how often the nearest second part is that of the same cell."""
    first, second = F.normalize(pooled_SD - pooled_SD.mean(0), dim=-1).chunk(2)
    nearest = (first @ second.T).argmax(1)
    return (nearest == torch.arange(len(first), device=nearest.device)).float().mean().item()
