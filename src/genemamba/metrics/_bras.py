from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genemamba._keys import OBSM_EMBEDDING
from genemamba.metrics._asw_batch import types_in_batches
from genemamba.metrics._check import check_batches, check_embedding, check_groups
from genemamba.metrics._from_anndata import from_anndata

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from genemamba.metrics._from_anndata import CellTable


def bras(
    X: ArrayLike | CellTable, batch: ArrayLike, labels: ArrayLike, *, use_rep: str = OBSM_EMBEDDING
) -> float:
    """Say how well batches mix, without the batch silhouette's blind spot (BRAS).

    scib-metrics' batch-removal-adapted silhouette: within each cell type, each cell's distance
    to its own batch against the mean distance to ALL others, not to the nearest one, so that
    one pair of well-mixed batches cannot hide the rest. Cosine distances.

    Parameters
    ----------
    X
        Embedding (n_cells, n_features), finite; or an AnnData, then the others are columns of
        ``obs``.
    batch
        Batch or donor of every cell.
    labels
        Cell type of every cell.
    use_rep
        Slot of ``obsm`` that is read from an AnnData.

    Returns
    -------
    From 0 to 1; 1 where batches overlap fully.

    Raises
    ------
    InputError
        NaN in any argument, lengths that differ, fewer than two batches or types,
        a batch of one cell, a slot or column that is not there, no cell type seen in two batches.

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> X, phase, types = adata.obsm["X_pca"], adata.obs["phase"], adata.obs["bulk_labels"]
    >>> 0 < gm.metrics.bras(X, phase, types) < 1
    True
    """
    from scib_metrics import bras as scib_bras

    X, batch, labels = from_anndata(X, use_rep, batch=batch, labels=labels)
    X = check_embedding(X)
    batches = check_batches(batch, len(X))
    types = check_groups(labels, len(X), "labels")
    cells = np.concatenate(types_in_batches(types, batches))
    return float(scib_bras(X[cells], types[cells], batches[cells]))
