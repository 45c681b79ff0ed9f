"""Initial gene vectors: genes that are expressed by the same cells start close to each other."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.stats import rankdata

from genemamba._expression import log_normalised
from genemamba.datasets import Corpus

_CELLS = 20_000  # enough for a few hundred factors
_BLOCK = 2_000
_ROUNDS, _SPARE = 5, 10
_WAVES, _OCTAVES = 0.1, 6  # share of the waves in a vector's squared norm; their number


def gene_vectors(corpus: Corpus, cells: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Compute gene vectors from the cells that express each gene, and from its median.

    Genes with equal counts in a cell are ranked by their medians, which tells most about a hidden
    gene from its neighbours; with these vectors the model need not learn that first.

    Of more than 20,000 cells, a random part is used. The result is float32, genes × `width`, with a
    root mean square of 1 per gene.
    """
    rng = np.random.default_rng(seed)
    expressed = gene_factors(corpus, cells, width, rng)
    medians = _median_waves(corpus.vocab.median, width, rng)
    mixed = np.sqrt(1 - _WAVES) * expressed + np.sqrt(_WAVES) * medians
    return _of_one_length(mixed).astype(np.float32)


def gene_factors(
    corpus: Corpus, cells: np.ndarray, width: int, rng: np.random.Generator
) -> np.ndarray:
    """Compute principal components of log1p of counts per 10,000, centred within each library.

    So library effects are not components. A component is weighted with the fourth root of its
    strength, and all genes are scaled to one length, because genes of low variance could hardly be
    predicted otherwise. Vectors are rotated at random, so that each coordinate mixes all
    components and scaling coordinates does not amplify weak ones.
    """
    if len(cells) > _CELLS:
        cells = np.sort(rng.choice(cells, _CELLS, replace=False))
    blocks = [corpus.rows(cells[i : i + _BLOCK]) for i in range(0, len(cells), _BLOCK)]
    logged = sparse.vstack([log_normalised(block) for block in blocks], format="csr")
    n = min(width, *(size - 1 for size in logged.shape))
    strength, genes = _centred_svd(logged, corpus.group[cells], n, rng)
    turn = np.linalg.qr(rng.standard_normal((width, width)))[0][:n]
    return _of_one_length((genes * strength**0.25) @ turn)


def _median_waves(median: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
    """Encode the rank of each gene's median as sines and cosines of half a wave to 16 waves."""
    angle = np.pi * (rankdata(median) / len(median))[:, None] * 2.0 ** np.arange(_OCTAVES)
    waves = np.hstack([np.sin(angle), np.cos(angle)])
    return _of_one_length(waves @ rng.standard_normal((waves.shape[1], width)))


def _of_one_length(vectors: np.ndarray) -> np.ndarray:
    """Scale the root mean square of each row to 1; rows of 0 stay."""
    return vectors / np.maximum(np.sqrt(np.mean(vectors**2, axis=1, keepdims=True)), 1e-9)


def _centred_svd(
    matrix: sparse.csr_matrix, group: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return `n` singular values and right vectors of the centred matrix, by random projection.

    The groups' means are subtracted from products, so the matrix stays sparse.
    """
    members = sparse.csr_matrix(np.unique(group)[:, None] == group, dtype=np.float32)
    means = (members @ matrix).toarray() / members.sum(axis=1).A1[:, None]

    def down(x: np.ndarray) -> np.ndarray:
        return matrix @ x - members.T @ (means @ x)

    def up(x: np.ndarray) -> np.ndarray:
        return matrix.T @ x - means.T @ (members @ x)

    more = min(n + _SPARE, *matrix.shape)
    basis = rng.standard_normal((matrix.shape[1], more)).astype(np.float32)
    for _ in range(_ROUNDS):
        basis = np.linalg.qr(up(np.linalg.qr(down(basis))[0]))[0]
    _, strength, turned = np.linalg.svd(down(basis), full_matrices=False)
    return strength[:n], (basis @ turned.T)[:, :n]
