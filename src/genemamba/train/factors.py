"""Gene vectors to start from: genes that are expressed by the same cells begin side by side."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from genemamba.datasets import Corpus
from genemamba.train.integration import log_normalised

_CELLS = 20_000  # enough for a few hundred factors
_BLOCK = 2_000


def gene_factors(corpus: Corpus, cells: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Factorise what cells express, log1p of counts per 10,000, as principal components do.

    A component's vector counts with the fourth root of its strength: judged on held-out studies by
    the mean vector of a cell's genes, that is as good as a PCA of these studies themselves. The
    first component, which all cells share, is left out.

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
    logged = sparse.vstack([log_normalised(block) for block in blocks], format="csr")
    n = min(width, *(size - 1 for size in logged.shape))
    _, strength, genes = randomized_svd(logged, n + 1, n_iter=4, random_state=seed)
    factors = np.zeros((logged.shape[1], width), dtype=np.float32)
    factors[:, :n] = genes[1:].T * strength[1:] ** 0.25
    return factors / np.sqrt(np.mean(factors**2))
