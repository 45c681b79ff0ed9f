from __future__ import annotations

import numpy as np

from genemamba._docs import documented
from genemamba._keys import OBSM_EMBEDDING
from genemamba._rng import Rng
from genemamba.metrics._check import Embedding, Groups, read
from genemamba.metrics._neighbors import nearest_neighbors


@documented
def graph_connectivity(
    X: Embedding, labels: Groups, *, use_rep: str = OBSM_EMBEDDING, rng: Rng = 0
) -> float:
    """Score how well the cells of each type are connected in the neighbour graph.

    Fraction of a type's cells in its largest connected component, averaged over types. The graph
    is scIB's: 15 neighbours, undirected (scib-metrics needs directed paths, and reads lower).

    Parameters
    ----------
    {X_labels}
    {rng}

    Returns
    -------
    From 0 to 1; 1 where every type is in one piece.

    {bad_groups}

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> round(gm.metrics.graph_connectivity(adata, "bulk_labels", use_rep="X_pca"), 1)
    0.9
    """
    from scipy.sparse.csgraph import connected_components

    space, types = read(X, use_rep, labels=labels)
    graph = nearest_neighbors(space, rng).knn_graph_connectivities.tocsr()
    shares = []
    for t in np.unique(types):
        cells = np.flatnonzero(types == t)
        parts = connected_components(graph[cells][:, cells], directed=False)[1]
        shares.append(np.bincount(parts).max() / len(cells))
    return float(np.mean(shares))
