from __future__ import annotations

from genemamba._docs import documented
from genemamba._keys import OBSM_EMBEDDING
from genemamba._rng import Rng
from genemamba.metrics._check import Embedding, Groups, read
from genemamba.metrics._neighbors import nearest_neighbors

LISI_NEIGHBORS = 90  # scib-metrics: perplexity 30 out of three times as many neighbours


@documented
def ilisi(X: Embedding, batch: Groups, *, use_rep: str = OBSM_EMBEDDING, rng: Rng = 0) -> float:
    """Score how many batches are found among a cell's neighbours (iLISI).

    Median over cells of the inverse Simpson index of the batches among 90 neighbours
    (perplexity 30), scaled so that 0 is one batch and 1 is equal shares of all batches. Needs no
    labels, so it also falls where batches hold different cell types.

    Parameters
    ----------
    {X_batch}
    {rng}

    Returns
    -------
    From 0 to 1; 1 where every neighbourhood holds equal shares of all batches.

    {bad_groups}

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> 0 < gm.metrics.ilisi(adata.obsm["X_pca"], adata.obs["phase"]) < 1
    True
    """
    from scib_metrics import ilisi_knn

    space, batches = read(X, use_rep, batch=batch)
    return float(ilisi_knn(nearest_neighbors(space, rng, LISI_NEIGHBORS), batches))
