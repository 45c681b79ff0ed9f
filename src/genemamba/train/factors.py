"""Gene vectors to start from: genes that are expressed by the same cells begin side by side."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from genemamba.datasets import Corpus
from genemamba.train.integration import log_normalised

_CELLS = 20_000  # enough for a few hundred factors
_BLOCK = 2_000
_ROUNDS, _SPARE = 5, 10


def gene_factors(corpus: Corpus, cells: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Factorise what cells express, log1p of counts per 10,000, as principal components do.

    Each library is centred first, so what sets libraries apart is no factor. A component's vector
    counts with the fourth root of its strength. The vectors are turned at random: every coordinate
    then holds some of each component, and scaling coordinates alike does not raise the weak ones.

    Parameters
    ----------
    corpus, cells
        The cells to look at; of more than 20,000 a random part.
    width
        Factors.
    seed
        Draws that part and the turn, and starts the factorisation.

    Returns
    -------
    float32, genes × `width`, root mean square 1.
    """
    rng = np.random.default_rng(seed)
    if len(cells) > _CELLS:
        cells = np.sort(rng.choice(cells, _CELLS, replace=False))
    blocks = [corpus.rows(cells[i : i + _BLOCK]) for i in range(0, len(cells), _BLOCK)]
    logged = sparse.vstack([log_normalised(block) for block in blocks], format="csr")
    n = min(width, *(size - 1 for size in logged.shape))
    strength, genes = _centred_svd(logged, corpus.group[cells], n, rng)
    turn = np.linalg.qr(rng.standard_normal((width, width)))[0][:n]
    factors = (genes * strength**0.25) @ turn
    return (factors / np.sqrt(np.mean(factors**2))).astype(np.float32)


def _centred_svd(
    matrix: sparse.csr_matrix, group: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return `n` singular values and right vectors around the groups' means, by random projection.

    The means are subtracted from products, so the matrix stays sparse.
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
