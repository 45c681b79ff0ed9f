"""Gene vectors to start from: genes that are expressed by the same cells begin side by side."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from genemamba.datasets import Corpus

_CELLS = 20_000  # enough for a few hundred factors
_BLOCK = 2_000


def gene_factors(corpus: Corpus, cells: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Factorise which cell expresses which gene, as latent semantic analysis does with words.

    Cells count alike (rows of unit length), and so do genes (columns of unit spread, but for those
    that vary least).

    Parameters
    ----------
    corpus, cells
        The cells to look at; of more than 20,000 a random part.
    width
        Factors.
    seed
        Draws that part, and starts the factorisation.

    Returns
    -------
    float32, genes × `width`, root mean square 1.
    """
    rng = np.random.default_rng(seed)
    if len(cells) > _CELLS:
        cells = np.sort(rng.choice(cells, _CELLS, replace=False))
    blocks = [corpus.rows(cells[i : i + _BLOCK]) for i in range(0, len(cells), _BLOCK)]
    seen = sparse.vstack(blocks, format="csr").astype(np.float32)
    seen.data[:] = np.repeat(1 / np.sqrt(np.maximum(seen.getnnz(1), 1)), seen.getnnz(1))
    mean = seen.mean(axis=0).A1
    spread = np.sqrt(np.maximum(seen.multiply(seen).mean(axis=0).A1 - mean**2, 1e-8))
    even = seen @ sparse.diags(1 / np.maximum(spread, np.median(spread)))
    n = min(width, *even.shape)
    _, strength, genes = randomized_svd(even.tocsr(), n, n_iter=3, random_state=seed)
    factors = np.zeros((seen.shape[1], width), dtype=np.float32)
    factors[:, :n] = genes.T * np.sqrt(strength)
    return factors / np.sqrt(np.mean(factors**2))
