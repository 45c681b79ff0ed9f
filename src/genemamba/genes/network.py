"""Networks of similar genes and their overlap: the array core of ``gm.tl.gene_network``.

Shapes: G genes, D dimensions, E edges.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist, squareform


def distance_matrix(vectors_GD: np.ndarray) -> np.ndarray:
    """Return Euclidean distances, ``G × G`` float64."""
    return squareform(pdist(np.asarray(vectors_GD, dtype=np.float64)))


def mean_distance(distances_GG: np.ndarray) -> float:
    """Return the mean over pairs of different genes."""
    n = len(distances_GG)
    return float(distances_GG.sum() / (n * (n - 1)))


def adjacency(distances_GG: np.ndarray, threshold: float) -> np.ndarray:
    """Connect genes no further apart than `threshold`, ``G × G`` bool, without self-loops."""
    near = distances_GG <= threshold
    np.fill_diagonal(near, False)
    return near


def jaccard(a_GG: np.ndarray, b_GG: np.ndarray) -> float:
    """Return shared edges over all edges of two networks; NaN without edges."""
    either = np.count_nonzero(a_GG | b_GG)
    return float(np.count_nonzero(a_GG & b_GG) / either) if either else float("nan")


def jaccard_test(
    a_GG: np.ndarray, b_GG: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return the Jaccard index, its mean by chance, and the one-sided p-value (b + 1) / (n + 1).

    The null permutes the genes of one network, which keeps the structure of both.
    """
    found = jaccard(a_GG, b_GG)
    if np.isnan(found):
        return found, found, 1.0
    rows, columns = np.nonzero(np.triu(a_GG))
    n_both = len(rows) + np.count_nonzero(b_GG) // 2
    shared = np.empty(n_permutations)
    for i in range(n_permutations):
        name = rng.permutation(len(a_GG))
        shared[i] = np.count_nonzero(b_GG[name[rows], name[columns]])
    chance = shared / (n_both - shared)
    p = (np.count_nonzero(chance >= found - 1e-12) + 1) / (n_permutations + 1)
    return found, float(chance.mean()) if n_permutations else float("nan"), float(p)
