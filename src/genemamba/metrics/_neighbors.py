"""The k-nearest-neighbour graph all graph metrics share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scib_metrics.nearest_neighbors import NeighborsResults

    from genemamba._rng import Rng

N_NEIGHBORS = 15  # scanpy's default, the cell itself included


def nearest_neighbors(
    X: NDArray[np.float32], rng: Rng, n_neighbors: int = N_NEIGHBORS
) -> NeighborsResults:
    """Return Euclidean neighbours; `knn_graph_connectivities` are scanpy's UMAP weights."""
    # scib-metrics imports JAX and UMAP, which takes seconds
    from scib_metrics.nearest_neighbors import pynndescent

    X = np.require(X, requirements="W")  # pynndescent refuses read-only (memory-mapped) arrays
    # One job: the approximate search differs with the number of threads.
    return pynndescent(X, min(n_neighbors, len(X)), random_state=draw_seed(rng), n_jobs=1)


def draw_seed(rng: Rng) -> int:
    """Return a seed for libraries that take an integer."""
    return int(np.random.default_rng(rng).integers(2**31 - 1))
