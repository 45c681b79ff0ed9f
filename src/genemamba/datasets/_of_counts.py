"""A corpus of cells in memory, on the genes of a model: what adapting the model trains on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from genemamba._files import write_json
from genemamba.datasets._build import counts_of, mean_ranking
from genemamba.datasets._store import (
    FORMAT,
    GENES,
    MANIFEST,
    MEASURED,
    MOST,
    RANKING,
    Corpus,
    Shard,
)
from genemamba.tokens import FIRST_GENE, Vocabulary, rank_csr

_BLOCK = 2_048  # cells of a shard


@dataclass(frozen=True, eq=False)
class OwnCells:
    """Cells on the genes of a vocabulary."""

    counts: sparse.csr_matrix
    """Cells × genes of the vocabulary, whole numbers."""
    library: np.ndarray
    """``(n_cells,)`` int, the library of each cell."""
    names: list[str]
    """Names of the libraries."""
    measured: np.ndarray
    """``(n_genes,)`` bool, the genes that were measured."""

    @property
    def sizes(self) -> np.ndarray:
        """Number of cells of each library."""
        return np.bincount(self.library, minlength=len(self.names))


def corpus_of(cells: OwnCells, vocab: Vocabulary, folder: Path) -> Corpus:
    """Write cells as a corpus with the medians of `vocab`; one that is complete is kept.

    Genes and medians are those of the model, so its tokens keep their meaning.
    """
    if not (folder / MANIFEST).exists():
        folder.mkdir(parents=True, exist_ok=True)
        shards = [
            _shard(cells, slice(start, start + _BLOCK), vocab, folder, f"shard-{number:05}")
            for number, start in enumerate(range(0, len(cells.library), _BLOCK))
        ]
        vocab.to_csv(folder / GENES)
        mean_ranking(folder, shards, vocab.n_genes).to_csv(folder / RANKING)
        with (folder / MEASURED).open("wb") as out:
            np.save(out, np.packbits(np.tile(cells.measured, (len(cells.names), 1)), axis=1))
        manifest = {
            "format": FORMAT,
            "sources": [
                {"file": name, "kept": n}
                for name, n in zip(cells.names, cells.sizes.tolist(), strict=True)
            ],
            "special_tokens": list(vocab.extra),
            "vocabulary_sha256": vocab.sha256,
            "libraries": cells.names,
            "labels": [],
            "shards": shards,
        }
        write_json(folder / MANIFEST, manifest)
    return Corpus(folder)


def _shard(
    cells: OwnCells, own: slice, vocab: Vocabulary, folder: Path, name: str
) -> dict[str, Any]:
    """Rank some cells and write them."""
    counts = cells.counts[own]
    token = np.arange(vocab.n_genes, dtype=np.int32) + FIRST_GENE
    arrays = counts.indptr.astype(np.int64), counts.indices.astype(np.int32), counts.data
    ranked = rank_csr(*arrays, token, vocab.median, vocab.n_genes)
    stored = np.minimum(counts.data, MOST).astype(np.uint16)
    of_tokens = counts_of(ranked.tokens, ranked.indptr, *arrays[:2], stored, token)
    n = counts.shape[0]
    none = np.full(n, -1)
    shard = Shard(ranked.tokens, of_tokens, ranked.indptr, cells.library[own], none, none)
    described = {"name": name, "cells": n, "tokens": len(ranked.tokens)}
    return described | {"sha256": shard.save(folder, name)}
