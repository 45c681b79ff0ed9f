"""Whether a model was trained on some cells: a small table that tells, however many there were.

A cell goes by its counts in a hundred genes that nearly all data sets have. The lowest few thousand
of the hashes of all training cells are kept (bottom-k sampling, Cohen and Kaplan 2007): of any
cells, those whose hash is low enough can be looked up, and are as good as drawn at random.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from ..errors import CheckpointError
from .vocab import Vocabulary

PANEL = 100  # genes a cell goes by
KEPT = 4_096  # hashes: 32 kB
FEWEST = 20  # of these genes a cell has to express, or another may have the same counts
_MOST = 65_535  # counts beyond are taken for this


class Seen(NamedTuple):
    """How many cells could be looked up, and how many of these were found."""

    looked_up: int
    found: int


@dataclass(frozen=True, eq=False)
class Sketch:
    """What is kept of the training cells.

    Parameters
    ----------
    genes
        ``(PANEL,)`` int64, the genes of the vocabulary that cells go by.
    hashes
        ``(≤ KEPT,)`` uint64, ascending: the lowest of all training cells.
    n_cells
        Training cells they were taken from.
    """

    genes: np.ndarray
    hashes: np.ndarray
    n_cells: int

    @classmethod
    def of(cls, blocks: Iterable[sparse.csr_matrix], genes: np.ndarray) -> Sketch:
        """Make a sketch of cells × genes of the vocabulary, block by block."""
        sketch = cls(genes, np.empty(0, dtype=np.uint64), 0)
        for block in blocks:
            own = hash_cells(block, np.arange(block.shape[1]), genes)
            sketch = sketch.joined(cls(genes, np.unique(own[own > 0]), block.shape[0]))
        return sketch

    def joined(self, other: Sketch) -> Sketch:
        """Return the sketch of the cells of both, which go by the same genes."""
        both = np.union1d(self.hashes, other.hashes)[:KEPT]
        return Sketch(self.genes, both, self.n_cells + other.n_cells)

    def look_up(self, counts: sparse.csr_matrix, gene: np.ndarray) -> Seen:
        """Look for cells of which column `c` counts ``gene[c]``, -1 for one of no gene."""
        hashes = np.unique(hash_cells(counts, gene, self.genes))
        full = len(self.hashes) == KEPT
        within = (hashes > 0) & (hashes <= self.hashes[-1] if full else True)
        return Seen(int(within.sum()), int(np.isin(hashes[within], self.hashes).sum()))

    def missing(self, gene: np.ndarray) -> int:
        """Count the genes that are not there; without one a cell has another hash."""
        return int((~np.isin(self.genes, gene)).sum())

    def to_dict(self, vocab: Vocabulary) -> dict[str, Any]:
        """Return plain types."""
        return {
            "cells": self.n_cells,
            "genes": vocab.ensembl_id[self.genes].tolist(),
            "hashes": base64.b64encode(self.hashes.astype("<u8").tobytes()).decode(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], vocab: Vocabulary) -> Sketch:
        """Read what :meth:`to_dict` returned.

        Raises
        ------
        CheckpointError
            If it is anything else.
        """
        try:
            n_cells, names = values["cells"], values["genes"]
            genes = np.array([vocab.name_to_gene[name] for name in names], dtype=np.int64)
            hashes = np.frombuffer(base64.b64decode(values["hashes"], validate=True), dtype="<u8")
        except (KeyError, TypeError, ValueError, binascii.Error):
            genes, hashes, n_cells = np.array([-1]), np.empty(0, dtype="<u8"), 0
        sound = (
            type(n_cells) is int
            and 0 <= len(hashes) <= min(n_cells, KEPT)
            and (hashes[1:] > hashes[:-1]).all()
            and genes.min(initial=0) >= 0
        )
        if not sound:
            raise CheckpointError(
                "the sketch of the training cells is damaged", "fetch the checkpoint again"
            )
        return cls(genes, hashes.astype(np.uint64), n_cells)


def hash_cells(counts: sparse.csr_matrix, gene: np.ndarray, genes: np.ndarray) -> np.ndarray:
    """Hash the counts of each cell in some genes; 0 for a cell that expresses too few of them."""
    place = np.full(max(gene.max(initial=0), genes.max(initial=0)) + 2, -1)  # the last for -1
    place[genes] = np.arange(len(genes))
    at = place[gene[counts.indices]]
    n = np.minimum(np.rint(counts.data), _MOST)
    used = (at >= 0) & (n > 0)
    mixed = (at[used].astype(np.uint64) << np.uint64(16)) | n[used].astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    starts = np.append(0, np.cumsum(used))[counts.indptr]
    sums = np.append(np.uint64(0), np.cumsum(mixed, dtype=np.uint64))  # they wrap around, as meant
    few = np.diff(starts) < min(FEWEST, len(genes))
    return np.where(few, np.uint64(0), sums[starts[1:]] - sums[starts[:-1]])
