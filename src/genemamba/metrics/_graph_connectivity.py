from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genemamba._keys import OBSM_EMBEDDING
from genemamba.metrics._check import check_embedding, check_groups
from genemamba.metrics._from_anndata import from_anndata
from genemamba.metrics._neighbors import Seed, nearest_neighbors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scib_metrics.nearest_neighbors import NeighborsResults

    from genemamba.metrics._from_anndata import CellTable


def graph_connectivity(
    X: ArrayLike | CellTable, labels: ArrayLike, *, use_rep: str = OBSM_EMBEDDING, rng: Seed = 0
) -> float:
    """Say whether the cells of each type hang together in the neighbour graph.

    Share of a type's cells in its largest connected part, averaged over types. The graph is
    scIB's: 15 neighbours, undirected (scib-metrics asks for directed paths, and reads lower).

    Parameters
    ----------
    X
        Embedding (n_cells, n_features), finite; or an AnnData, then the others are columns of
        ``obs``.
    labels
        Cell type of every cell.
    use_rep
        Slot of ``obsm`` that is read from an AnnData.
    rng
        Seed of the neighbour search.

    Returns
    -------
    From 0 to 1; 1 where every type is in one piece.

    Raises
    ------
    InputError
        NaN in `X` or `labels`, lengths that differ, fewer than two types, a slot or column that is
        not there.

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> X, types = adata.obsm["X_pca"], adata.obs["bulk_labels"]
    >>> round(gm.metrics.graph_connectivity(X, types), 1)
    0.9
    """
    X, labels = from_anndata(X, use_rep, labels=labels)
    X = check_embedding(X)
    types = check_groups(labels, len(X), "labels")
    return mean_largest_part(nearest_neighbors(X, rng), types)


def mean_largest_part(neighbors: NeighborsResults, types: NDArray[np.intp]) -> float:
    """Return the mean over types of the largest connected part's share."""
    from scipy.sparse.csgraph import connected_components

    graph = neighbors.knn_graph_connectivities.tocsr()
    shares = []
    for t in np.unique(types):
        cells = np.flatnonzero(types == t)
        parts = connected_components(graph[cells][:, cells], directed=False)[1]
        shares.append(np.bincount(parts).max() / len(cells))
    return float(np.mean(shares))
