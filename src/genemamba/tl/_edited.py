"""Edited cells read by the model, and measured against the same cells unedited."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from genemamba._progress import Progress
from genemamba.network.inference import embed_tokens
from genemamba.tl._shift import Direction, cosine_distance
from genemamba.tokens import Ranked
from genemamba.tokens.edit import begins_with, cut, delete, put_first

if TYPE_CHECKING:
    from genemamba.network import GeneMamba
    from genemamba.network.genemamba import Pooling
    from genemamba.network.runtime import Runtime

How = Literal["delete", "overexpress"]
MEASURES = ("cosine", "euclidean", "towards", "score")
_BLOCK = 2**21  # tokens read in one go: many lengths to batch, some 10 MB


@dataclass(frozen=True, eq=False)
class Job:
    """One edit of some cells.

    Parameters
    ----------
    key
        What the caller knows it by.
    cells
        ``(n,)`` indices of the cells that it changes.
    edited
        These cells after it.
    way
        The direction to measure along, if there is one.
    """

    key: Any
    cells: np.ndarray
    edited: Ranked
    way: Direction | None


@dataclass(frozen=True, eq=False)
class Editor:
    """All cells of a data set, and how they are edited and read.

    Parameters
    ----------
    loaded, runtime, pooling, max_tokens
        The model and how it reads.
    how
        What is done to genes.
    ranked
        The cells, ranked to as many tokens more than `max_tokens` as genes are edited at once.
    bar
        Shows the progress of all that is read.
    """

    loaded: GeneMamba
    runtime: Runtime
    pooling: Pooling
    max_tokens: int
    how: How
    ranked: Ranked
    bar: Progress

    def unedited(self) -> Ranked:
        """Return the cells as the model reads them."""
        return cut(self.ranked, self.max_tokens)

    def read(self, ranked: Ranked) -> np.ndarray:
        """Return one float64 vector a cell, NaN where it has no token."""
        vectors = embed_tokens(
            self.loaded, ranked, pooling=self.pooling, runtime=self.runtime, progress=self.bar
        )
        return vectors.astype(np.float64)

    def job(
        self, key: Any, genes: tuple[int, ...], cells: np.ndarray, way: Direction | None
    ) -> Job:
        """Edit genes in those of `cells` where this changes something."""
        edit = delete if self.how == "delete" else put_first
        changed, edited = edit(self.ranked.take(cells), genes, self.max_tokens)
        return Job(key, cells[changed], edited, way)

    def measure(self, before: np.ndarray, jobs: Iterable[Job]) -> Iterator[tuple[Job, np.ndarray]]:
        """Yield each job with ``(n, 4)`` float64, `MEASURES` of its cells, in the order given.

        `before` are the vectors of all cells. Jobs are read together in blocks, so that cells of
        like length make a batch whatever job they belong to.
        """
        block: list[Job] = []
        for job in jobs:
            block.append(job)
            if sum(len(j.edited.tokens) for j in block) >= _BLOCK:
                yield from self._measure_block(before, block)
                block = []
        yield from self._measure_block(before, block)

    def _measure_block(
        self, before: np.ndarray, block: list[Job]
    ) -> Iterator[tuple[Job, np.ndarray]]:
        if not block:
            return
        after = self.read(Ranked.joined([job.edited for job in block]))
        ends = np.cumsum([len(job.cells) for job in block])
        for job, part in zip(block, np.split(after, ends[:-1]), strict=True):
            yield job, measure(before[job.cells], part, job.way)


class Sample:
    """Cells of a group in random order, to try every gene in as nearly the same as can be.

    Parameters
    ----------
    editor
        The cells, and what is done to them.
    cells
        Indices of those of the group.
    n
        How many to try a gene in, at most.
    rng
        Draws the order.
    """

    def __init__(self, editor: Editor, cells: np.ndarray, n: int, rng: np.random.Generator) -> None:
        self.editor, self.n, self.cells = editor, n, rng.permutation(cells)
        self.ranked = cut(editor.ranked.take(self.cells), editor.max_tokens)
        shape = (len(cells), 1 + int(self.ranked.tokens.max(initial=0)))
        there = np.ones(len(self.ranked.tokens), dtype=bool)
        index = sparse.csr_matrix((there, self.ranked.tokens, self.ranked.indptr), shape).tocsc()
        self.starts, self.with_token = index.indptr, index.indices

    def changed_by(self, genes: tuple[int, ...], n: int | None = None) -> np.ndarray:
        """Return the first `n` cells that editing `genes` changes, without editing any.

        They are the `n` of the sample unless it is given.
        """
        if self.editor.how == "delete":
            known = [g for g in genes if g + 1 < len(self.starts)]
            own = [self.with_token[slice(*self.starts[[g, g + 1]])] for g in known]
            places = np.unique(np.concatenate([np.empty(0, dtype=int), *own]))
        else:
            front = np.asarray(genes[: self.editor.max_tokens], dtype=np.int32)
            places = np.flatnonzero((self.ranked.lengths > 0) & ~begins_with(self.ranked, front))
        return self.cells[places[: self.n if n is None else n]]


def measure(before: np.ndarray, after: np.ndarray, way: Direction | None) -> np.ndarray:
    """Return `MEASURES` of each pair of vectors, ``(n, 4)``; the last two NaN without a way."""
    out = np.full((len(before), len(MEASURES)), np.nan)
    out[:, 0] = cosine_distance(before, after)
    out[:, 1] = np.linalg.norm(after - before, axis=1)
    if way is not None:
        out[:, 2] = way.alignment(before, after)
        out[:, 3] = way.score(after) - way.score(before)
    return out
