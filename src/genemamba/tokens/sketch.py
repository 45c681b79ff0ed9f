"""Detect whether a model was trained on some cells, from a small table of hashes.

A cell is hashed by its counts in a hundred genes that nearly all data sets have. The lowest few
thousand hashes of all training cells are kept (bottom-k sampling, Cohen and Kaplan 2007). Of any
cells, those with a low enough hash can be looked up; they are a random sample.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from scipy import sparse

from ..errors import CheckpointError
from .vocab import Vocabulary

PANEL = 100  # genes that are hashed
KEPT = 4_096  # hashes: 32 kB
FEWEST = 20  # genes of these that a cell must express for its counts to be unique
_MOST = 65_535  # higher counts are set to this


class Seen(NamedTuple):
    """Numbers of cells that could be looked up, and that were found."""

    looked_up: int
    found: int


@dataclass(frozen=True, eq=False)
class Sketch:
    """Hashes of training cells."""

    genes: np.ndarray
    """``(PANEL,)`` int64, the hashed genes of the vocabulary."""
    hashes: np.ndarray
    """``(≤ KEPT,)`` uint64, ascending: the lowest of all training cells."""
    n_cells: int
    """Training cells."""

    @classmethod
    def of(cls, blocks: Iterable[sparse.csr_matrix], genes: np.ndarray) -> Sketch:
        """Make a sketch of cells × genes of the vocabulary, block by block."""
        sketch = cls(genes, np.empty(0, dtype=np.uint64), 0)
        for block in blocks:
            own = hash_cells(block, np.arange(block.shape[1]), genes)
            sketch = sketch.joined(cls(genes, np.unique(own[own > 0]), block.shape[0]))
        return sketch

    def joined(self, other: Sketch) -> Sketch:
        """Return the sketch of the cells of both, which must hash the same genes."""
        both = np.union1d(self.hashes, other.hashes)[:KEPT]
        return Sketch(self.genes, both, self.n_cells + other.n_cells)

    def look_up(self, counts: sparse.csr_matrix, gene: np.ndarray) -> Seen:
        """Look up cells, whose column `c` counts ``gene[c]``, -1 for no gene."""
        hashes = np.unique(hash_cells(counts, gene, self.genes))
        full = len(self.hashes) == KEPT
        within = (hashes > 0) & (hashes <= self.hashes[-1] if full else True)
        return Seen(int(within.sum()), int(np.isin(hashes[within], self.hashes).sum()))

    def missing(self, gene: np.ndarray) -> int:
        """Count hashed genes that are missing; without one, hashes differ."""
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
        """Read what :meth:`to_dict` returned."""
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


@njit(nogil=True, cache=True)
def splitmix64(x):  # type: ignore[no-untyped-def]
    """Mix the bits of uint64 numbers, one or an array."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hash_cells(counts: sparse.csr_matrix, gene: np.ndarray, genes: np.ndarray) -> np.ndarray:
    """Hash the counts of each cell in some genes; 0 for cells that express too few of them."""
    place = np.full(max(gene.max(initial=0), genes.max(initial=0)) + 2, -1)  # the last for -1
    place[genes] = np.arange(len(genes))
    at = place[gene[counts.indices]]
    n = np.minimum(np.rint(counts.data), _MOST)
    used = (at >= 0) & (n > 0)
    mixed = splitmix64((at[used].astype(np.uint64) << np.uint64(16)) | n[used].astype(np.uint64))
    starts = np.append(0, np.cumsum(used))[counts.indptr]
    sums = np.append(np.uint64(0), np.cumsum(mixed, dtype=np.uint64))  # wraps around
    few = np.diff(starts) < min(FEWEST, len(genes))
    return np.where(few, np.uint64(0), sums[starts[1:]] - sums[starts[:-1]])
