"""Expression as analysts compare it: log1p of counts per 10,000."""

from __future__ import annotations

import numpy as np
from scipy import sparse


def log_normalised(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Log1p of counts per 10,000, float32."""
    total = np.maximum(np.asarray(counts.sum(axis=1), dtype=np.float64).ravel(), 1e-12)
    data = np.log1p(counts.data * np.repeat(1e4 / total, np.diff(counts.indptr)))
    return sparse.csr_matrix(
        (data.astype(np.float32), counts.indices, counts.indptr), shape=counts.shape
    )
