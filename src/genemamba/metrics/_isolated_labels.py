from __future__ import annotations

import numpy as np

from genemamba._docs import documented
from genemamba._keys import OBSM_EMBEDDING
from genemamba.metrics._check import Embedding, Groups, read
from genemamba.metrics._silhouette import silhouette


@documented
def isolated_labels(
    X: Embedding, batch: Groups, labels: Groups, *, use_rep: str = OBSM_EMBEDDING
) -> float:
    """Score how well cell types of few batches are separated from the others.

    scib-metrics' form: isolated are the types seen in the smallest number of batches; the score
    is (silhouette on cell types + 1) / 2, averaged within each of them, then over them. If every
    type is in every batch, all types are isolated, and this is ASW by type.

    Parameters
    ----------
    {X_batch_labels}

    Returns
    -------
    From 0 to 1; 0.5 where they overlap with others fully.

    {bad_groups}

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> 0.5 < gm.metrics.isolated_labels(adata, "phase", "bulk_labels", use_rep="X_pca") < 1
    True
    """
    space, batches, types = read(X, use_rep, batch=batch, labels=labels)
    n_batches = np.bincount(np.unique(np.stack([types, batches]), axis=1)[0])
    widths = (silhouette(space, types) + 1) / 2
    isolated = np.flatnonzero(n_batches == n_batches.min())
    return float(np.mean([widths[types == t].mean() for t in isolated]))
