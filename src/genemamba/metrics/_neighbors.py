"""The k-nearest-neighbour graph all graph metrics share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genemamba._rng import Rng, generator_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scib_metrics.nearest_neighbors import NeighborsResults

N_NEIGHBORS = 15  # scanpy's default, the cell itself included
EXACT_UP_TO = 20_000
"""Cells up to which all distances are computed: an index takes longer to compile than this."""


def nearest_neighbors(
    X: NDArray[np.float32], rng: Rng, n_neighbors: int = N_NEIGHBORS
) -> NeighborsResults:
    """Return Euclidean neighbours; `knn_graph_connectivities` are scanpy's UMAP weights."""
    # scib-metrics imports JAX and UMAP, which takes seconds
    from scib_metrics.nearest_neighbors import NeighborsResults, pynndescent
    from sklearn.neighbors import NearestNeighbors

    n_neighbors, seed = min(n_neighbors, len(X)), draw_seed(rng)
    if len(X) <= EXACT_UP_TO:
        nearest = NearestNeighbors(n_neighbors=n_neighbors - 1, algorithm="brute").fit(X)
        distance, index = nearest.kneighbors()  # of other cells
        own = np.arange(len(X))[:, None]
        return NeighborsResults(np.hstack([own, index]), np.pad(distance, ((0, 0), (1, 0))))
    X = np.require(X, requirements="W")  # pynndescent refuses read-only (memory-mapped) arrays
    # One job: the approximate search differs with the number of threads.
    return pynndescent(X, n_neighbors, random_state=seed, n_jobs=1)


def draw_seed(rng: Rng) -> int:
    """Return a seed for libraries that take an integer."""
    return int(generator_of(rng).integers(2**31 - 1))
