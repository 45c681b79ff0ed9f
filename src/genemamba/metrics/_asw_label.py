from __future__ import annotations

from genemamba._docs import documented
from genemamba._keys import OBSM_EMBEDDING
from genemamba.metrics._check import Embedding, Groups, read
from genemamba.metrics._silhouette import silhouette


@documented
def asw_label(X: Embedding, labels: Groups, *, use_rep: str = OBSM_EMBEDDING) -> float:
    """Score how far apart the cell types are (average silhouette width, ASW_cell).

    (mean silhouette + 1) / 2 over all cells, Euclidean distances.

    Parameters
    ----------
    {X_labels}

    Returns
    -------
    From 0 to 1; 0.5 where types overlap fully, 1 where they are points far apart.

    {bad_groups}

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> round(gm.metrics.asw_label(adata.obsm["X_pca"], adata.obs["bulk_labels"]), 2)
    0.55
    """
    space, types = read(X, use_rep, labels=labels)
    return float((silhouette(space, types).mean() + 1) / 2)
