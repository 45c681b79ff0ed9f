from __future__ import annotations

import numpy as np

from genemamba._docs import documented
from genemamba._keys import OBSM_EMBEDDING
from genemamba.metrics._asw_batch import types_in_batches
from genemamba.metrics._check import Embedding, Groups, read


@documented
def bras(X: Embedding, batch: Groups, labels: Groups, *, use_rep: str = OBSM_EMBEDDING) -> float:
    """Score how well batches mix, without the batch silhouette's blind spot (BRAS).

    scib-metrics' batch-removal-adapted silhouette: within each cell type, each cell's distance
    to its own batch against the mean distance to ALL others, not to the nearest one, so that
    one pair of well-mixed batches cannot hide the rest. Cosine distances.

    Parameters
    ----------
    {X_batch_labels}

    Returns
    -------
    From 0 to 1; 1 where batches overlap fully.

    {bad_groups}

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> 0 < gm.metrics.bras(adata, "phase", "bulk_labels", use_rep="X_pca") < 1
    True
    """
    from scib_metrics import bras as scib_bras

    space, batches, types = read(X, use_rep, batch=batch, labels=labels)
    cells = np.concatenate(types_in_batches(types, batches))
    return float(scib_bras(space[cells], types[cells], batches[cells]))
