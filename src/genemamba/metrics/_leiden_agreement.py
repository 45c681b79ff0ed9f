from __future__ import annotations

import numpy as np

from genemamba._docs import documented
from genemamba._keys import OBSM_EMBEDDING
from genemamba._rng import Rng, generator_of
from genemamba.metrics._check import Embedding, Groups, read
from genemamba.metrics._neighbors import draw_seed, nearest_neighbors

RESOLUTIONS = np.arange(1, 21) / 10  # scIB's search: 0.1, 0.2, … 2.0


@documented
def leiden_agreement(
    X: Embedding, labels: Groups, *, use_rep: str = OBSM_EMBEDDING, rng: Rng = 0
) -> dict[str, float]:
    """Compare unsupervised clusters with cell types (ARI, NMI).

    Leiden clustering (igraph, modularity) on UMAP-weighted 15 nearest neighbours, as in scanpy,
    at each resolution 0.1, 0.2, … 2.0. The one with the highest NMI is reported, as in scIB:
    the labels choose the resolution, so the score is an upper bound for an analyst without them.

    Parameters
    ----------
    {X_labels}
    {rng}

    Returns
    -------
    ``ari`` (adjusted Rand index), ``nmi`` (normalised mutual information, arithmetic mean) and
    the ``resolution`` that gave them.

    {bad_groups}

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sorted(gm.metrics.leiden_agreement(adata, "bulk_labels", use_rep="X_pca"))
    ['ari', 'nmi', 'resolution']
    """
    import random

    import igraph
    from scib_metrics import nmi_ari_cluster_labels_leiden

    space, types = read(X, use_rep, labels=labels)
    rng = generator_of(rng)
    neighbors = nearest_neighbors(space, rng)
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
