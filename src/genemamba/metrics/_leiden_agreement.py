from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genemamba._keys import OBSM_EMBEDDING
from genemamba.metrics._check import check_embedding, check_groups
from genemamba.metrics._from_anndata import from_anndata
from genemamba.metrics._neighbors import Seed, draw_seed, nearest_neighbors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from genemamba.metrics._from_anndata import CellTable

RESOLUTIONS = np.arange(1, 21) / 10  # scIB's search: 0.1, 0.2, … 2.0


def leiden_agreement(
    X: ArrayLike | CellTable, labels: ArrayLike, *, use_rep: str = OBSM_EMBEDDING, rng: Seed = 0
) -> dict[str, float]:
    """Say how well unsupervised clusters match the cell types (ARI, NMI).

    Leiden clustering (igraph, modularity) on UMAP-weighted 15 nearest neighbours, as in scanpy,
    at each resolution 0.1, 0.2, … 2.0. The one with the highest NMI is reported, as in scIB:
    the labels choose the resolution, so the figure is an upper bound for an analyst without them.

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
        Seed of the neighbour search and of Leiden.

    Returns
    -------
    ``ari`` (adjusted Rand index), ``nmi`` (normalised mutual information, arithmetic mean) and
    the ``resolution`` that gave them.

    Raises
    ------
    InputError
        NaN in `X` or `labels`, lengths that differ, fewer than two types, a slot or column that is
        not there.

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scores = gm.metrics.leiden_agreement(adata.obsm["X_pca"], adata.obs["bulk_labels"])
    >>> sorted(scores)
    ['ari', 'nmi', 'resolution']
    """
    import random

    import igraph
    from scib_metrics import nmi_ari_cluster_labels_leiden

    X, labels = from_anndata(X, use_rep, labels=labels)
    X = check_embedding(X)
    types = check_groups(labels, len(X), "labels")
    rng = np.random.default_rng(rng)
    neighbors = nearest_neighbors(X, rng)
    seed = draw_seed(rng)
    best = {"nmi": -np.inf}
    try:
        for resolution in RESOLUTIONS:
            scores = nmi_ari_cluster_labels_leiden(
                neighbors, types, optimize_resolution=False, resolution=resolution, seed=seed
            )
            if scores["nmi"] > best["nmi"]:
                best = {**scores, "resolution": resolution}
    finally:
        igraph.set_random_number_generator(random)  # scib-metrics leaves its own behind
    return {key: float(best[key]) for key in ("ari", "nmi", "resolution")}
