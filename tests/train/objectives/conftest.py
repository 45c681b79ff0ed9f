from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse

from genemamba.network import GeneMamba
from genemamba.tokens import FIRST_GENE
from genemamba.train.packing import ViewBatch, make_batch
from genemamba.train.views import Views


@pytest.fixture
def new_batch(small_model: GeneMamba) -> Callable[..., ViewBatch]:
    """Make batches of random rankings; views of 9 to 24 genes unless given."""

    def make(
        *,
        views: list[np.ndarray] | None = None,
        target_fraction: float = 0.3,
        hide: bool = False,
        row: int = 48,
    ) -> ViewBatch:
        rng = np.random.default_rng(1)
        if views is None:
            n = small_model.vocab.n_genes
            views = [rng.permutation(n)[:k] + FIRST_GENE for k in rng.integers(9, 25, 8)]
        measured = np.ones((2, small_model.vocab.n_genes), dtype=bool)
        views = Views(views, sparse.csr_matrix((len(views), 1)), measured)
        return make_batch(
            views, small_model.vocab, rng, row=row, target_fraction=target_fraction, hide=hide
        )

    return make
