"""Random halves of cells, which separate reproducible signal from noise.

Halves of Poisson counts are independent given expression, so what they share belongs to the cell.
The two views of a cell, the model's embedding and its genes, are measured with the same halves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from genemamba._expression import log_normalised
from genemamba.integration.mixing import agreement, loadings, without_depth
from genemamba.network.inference import embed_tokens
from genemamba.network.runtime import Runtime
from genemamba.tokens import GeneMatch, rank_csr

if TYPE_CHECKING:
    from genemamba.network import GeneMamba

N_CELLS = 2000  # enough for covariances; embedding a half costs about as much as a cell
HALF_TOKENS = 512


@dataclass(frozen=True, eq=False)
class Halves:
    """Some cells, with the counts and embeddings of their halves."""

    cell: np.ndarray
    """Indices of the cells."""
    counts: list[sparse.csr_matrix]
    vectors: list[np.ndarray]


def halve(
    counts: sparse.csr_matrix,
    genes: GeneMatch,
    kind: str,
    network: GeneMamba,
    *,
    max_tokens: int,
    runtime: Runtime,
    rng: np.random.Generator,
) -> Halves:
    """Split the counts of at most ``N_CELLS`` cells at random, and embed both halves."""
    n = counts.shape[0]
    cell = np.sort(rng.choice(n, min(N_CELLS, n), replace=False))
    chosen = whole_counts(counts[cell], kind)
    parts, vectors = split_counts(chosen, rng), []
    for part in parts:
        arrays = part.indptr, part.indices, part.data, genes.token, genes.median
        ranked = rank_csr(*arrays, min(max_tokens, HALF_TOKENS))
        vectors.append(embed_tokens(network, ranked, runtime=runtime))
    kept = np.flatnonzero(np.isfinite(np.hstack(vectors)).all(axis=1))
    return Halves(cell[kept], [part[kept] for part in parts], [own[kept] for own in vectors])


def split_counts(counts: sparse.csr_matrix, rng: np.random.Generator) -> list[sparse.csr_matrix]:
    """Split whole counts of cells into two halves at random; zeros are kept."""
    first = rng.binomial(counts.data, 0.5)
    return [
        sparse.csr_matrix((data, counts.indices, counts.indptr), shape=counts.shape)
        for data in (first, counts.data - first)
    ]


def whole_counts(values: sparse.csr_matrix, kind: str) -> sparse.csr_matrix:
    """Make integers; if values are not counts, the smallest one of a cell becomes one count."""
    data = values.data.astype(np.float64)
    if kind != "counts":
        lengths = np.diff(values.indptr)
        filled = lengths > 0
        smallest = np.minimum.reduceat(np.where(data > 0, data, np.inf), values.indptr[:-1][filled])
        data = data / np.repeat(smallest, lengths[filled])
    whole = np.rint(data).astype(np.int64)
    return sparse.csr_matrix((whole, values.indices, values.indptr), shape=values.shape)


def model_view(
    frozen: np.ndarray, total: np.ndarray, batch: np.ndarray, halves: Halves
) -> np.ndarray:
    """Return directions of the embedding in which halves agree, without depth."""
    own = batch[halves.cell]
    first, second = (
        without_depth(vectors, np.asarray(part.sum(axis=1)).ravel(), own)
        for vectors, part in zip(halves.vectors, halves.counts, strict=True)
    )
    return without_depth(frozen, total, batch) @ agreement(first, second, own)


def expression_view(
    counts: sparse.csr_matrix, genes: np.ndarray, batch: np.ndarray, halves: Halves
) -> np.ndarray:
    """Return directions of the log-normalised genes in which halves agree."""
    logged = log_normalised(counts)[:, genes]
    axes = loadings(logged, batch)
    first, second = (log_normalised(part)[:, genes] @ axes for part in halves.counts)
    return logged @ (axes @ agreement(first, second, batch[halves.cell]))
