"""The cells of each step: exact epochs, in an order that only the seed decides.

Each training cell occurs once per epoch. The cells of a library are shuffled and cut into
micro-batches of nearly equal size, which are shuffled as well. A step takes the next
``micro_batches`` of them; of W processes each takes every W-th, so W does not change the result.
Libraries with fewer than 8 training cells are left out, because contrast needs other cells.

With ``pairs``, additional micro-batches hold pairs of cells with one label from different
libraries: one cell is the first view, the other the second. Cells of profiles are drawn anew for
every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from genemamba._settings import unknown
from genemamba.datasets import Corpus
from genemamba.errors import InputError
from genemamba.train.packing import ViewBatch, make_batch
from genemamba.train.recipe import Recipe
from genemamba.train.views import draw

FEWEST = 8


@dataclass(frozen=True, eq=False)
class CorpusSplit:
    """Cells by their use, as indices into the corpus."""

    training: np.ndarray
    studies: np.ndarray
    """Cells of held-out files and libraries."""
    share: np.ndarray
    """Cells held out from the other libraries."""


def split(corpus: Corpus, recipe: Recipe) -> CorpusSplit:
    """Hold out whole files or libraries by name, and a fraction of the other cells."""
    files = [name.partition("/")[0] for name in corpus.groups]
    named = np.zeros(len(corpus.groups), dtype=bool)
    for name in recipe.data.held_out:
        own = np.array([name in pair for pair in zip(files, corpus.groups, strict=True)])
        if not own.any():
            raise unknown(name, sorted({*files, *corpus.groups}), "[data] held_out: the corpus")
        named |= own
    study = named[corpus.group]
    drawn = np.random.default_rng(recipe.run.seed).random(len(corpus)) < recipe.data.held_out_share
    training = np.flatnonzero(~study & ~drawn)
    fewest = min(FEWEST, recipe.data.cells)
    enough = np.bincount(corpus.group[training], minlength=len(corpus.groups)) >= fewest
    training = training[enough[corpus.group[training]]]
    if not len(training):
        raise InputError(
            f"no library of {corpus.folder} has {fewest} cells to train on",
            "hold out less, or build a larger corpus",
        )
    return CorpusSplit(training, np.flatnonzero(study), np.flatnonzero(~study & drawn))


class Stream:
    """The data of every step, as a function of seed and step.

    This is process `rank` of `world`.
    """

    def __init__(
        self, corpus: Corpus, recipe: Recipe, training: np.ndarray, rank: int = 0, world: int = 1
    ) -> None:
        if recipe.data.micro_batches % world:
            raise InputError(
                f"[data] micro_batches is {recipe.data.micro_batches}, for {world} processes",
                f"make it a multiple of {world}",
            )
        self.corpus, self.recipe, self.rank, self.world = corpus, recipe, rank, world
        self.training = training
        self._epoch = lru_cache(2)(self._shuffle)

    @cached_property
    def steps(self) -> int:
        """Steps of the whole run; the last step of an epoch may begin another one."""
        optimiser, data = self.recipe.optimiser, self.recipe.data
        return optimiser.steps or -(-optimiser.epochs * len(self.epoch(0)) // data.micro_batches)

    def epoch(self, number: int) -> list[np.ndarray]:
        """Return the cells of each micro-batch of an epoch, in order."""
        return self._epoch(number)

    def cells(self, step: int) -> list[np.ndarray]:
        """Return the cells of each micro-batch of a step in all processes; pairs as 2 × cells."""
        per_epoch, size = len(self.epoch(0)), self.recipe.data.micro_batches
        numbers = range(step * size, (step + 1) * size)
        return [self.epoch(n // per_epoch)[n % per_epoch] for n in numbers]

    def own(self, step: int) -> list[ViewBatch]:
        """Return the micro-batches of a step for this process."""
        return [
            read_batch(self.corpus, cells, self.recipe, (self.recipe.run.seed, step, number))
            for number, cells in enumerate(self.cells(step))
            if number % self.world == self.rank
        ]

    def from_step(self, started: int) -> Iterator[tuple[int, list[ViewBatch]]]:
        """Yield all steps from `started`; the next is prepared while the current one is used."""
        with ThreadPoolExecutor(1) as thread:
            coming = thread.submit(self.own, started)
            for step in range(started, self.steps):
                batches = coming.result()
                coming = thread.submit(self.own, min(step + 1, self.steps - 1))
                yield step, batches

    def _shuffle(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng((self.recipe.run.seed, epoch))
        group = self.corpus.group[self.training]
        parts: list[np.ndarray] = []
        for library in np.unique(group):
            own = rng.permutation(self.training[group == library])
            parts += np.array_split(own, -(-len(own) // self.recipe.data.cells))
        share = self.recipe.data.pairs
        if share:
            pairs = Pairs(self.corpus, self.training)
            parts += [
                pairs.draw(self.recipe.data.cells, rng)
                for _ in range(round(len(parts) * share / (1 - share)))
            ]
        return [parts[i] for i in rng.permutation(len(parts))]


class Pairs:
    """Pairs of cells of one label from different libraries."""

    def __init__(self, corpus: Corpus, training: np.ndarray) -> None:
        label, library = corpus.label[training], corpus.group[training]
        self.cells: list[list[np.ndarray]] = []
        """For each label, the cells of each library with it."""
        for one in np.unique(label[label >= 0]):
            own = np.flatnonzero(label == one)
            of = [training[own[library[own] == name]] for name in np.unique(library[own])]
            if len(of) > 1:
                self.cells.append(of)
        if not self.cells:
            raise InputError(
                f"[data] pairs is set, and no label of {corpus.folder} occurs in two libraries",
                "build the corpus with labels, or use the recipe 'unlabelled'",
            )

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw 2 × `n` cells, with labels equally often."""
        labels = np.concatenate(
            [rng.permutation(len(self.cells)) for _ in range(-(-n // len(self.cells)))]
        )
        found = np.empty((2, n), dtype=np.int64)
        for i, label in enumerate(labels[:n].tolist()):
            of = self.cells[label]
            for side, library in enumerate(rng.choice(len(of), 2, replace=False)):
                found[side, i] = rng.choice(of[library])
        return found


def read_batch(
    corpus: Corpus, cells: np.ndarray, recipe: Recipe, seed: tuple[int, ...]
) -> ViewBatch:
    """Draw and pack the views of some cells, or of pairs of cells."""
    rng = np.random.default_rng(seed)
    sides = np.atleast_2d(cells)
    counts = tuple(corpus.drawn(own, rng) for own in sides)
    measured = tuple(corpus.measured[np.unique(corpus.group[own])].all(axis=0) for own in sides)
    views = draw(recipe.data, counts, measured, corpus.vocab, rng)
    n_sets = len(views.measured)
    label = np.concatenate([corpus.label[sides[min(s, len(sides) - 1)]] for s in range(n_sets)])
    return make_batch(
        views,
        corpus.vocab,
        rng,
        row=recipe.data.length,
        target_fraction=recipe.objectives.mask_fraction,
        hide="masked" in recipe.objectives.weights(),
        profile="profile" in recipe.objectives.weights(),
        label=label,
    )
