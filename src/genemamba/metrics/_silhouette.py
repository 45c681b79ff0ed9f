"""scikit-learn's silhouette in little memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WORKING_MEMORY_MB = 128


def silhouette(X: NDArray[np.float32], codes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the Euclidean silhouette of every cell, computed in blocks."""
    import sklearn
    from sklearn.metrics import silhouette_samples

    with sklearn.config_context(working_memory=WORKING_MEMORY_MB):
        return silhouette_samples(X, codes)
