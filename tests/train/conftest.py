from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from genemamba.datasets import Corpus
from genemamba.datasets._corpus import nonzero_medians
from genemamba.tokens import Vocabulary


@pytest.fixture
def corpus(pbmc: AnnData) -> Corpus:
    """Real cells as a corpus of two libraries."""
    counts = sparse.csr_matrix(pbmc.X)
    n = pbmc.n_vars
    vocab = Vocabulary(
        ensembl_id=np.array([f"ENSG{i:011d}" for i in range(n)]),
        symbol=pbmc.var_names.to_numpy(dtype=str),
        median=nonzero_medians(counts, pbmc.X.sum(1).astype(float)),
        alias=np.full(n, ""),
        extra=("[MASK]",),
    )
    return Corpus(counts, np.arange(pbmc.n_obs) % 2, ["a", "b"], vocab)
