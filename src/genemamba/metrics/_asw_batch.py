from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genemamba._docs import documented
from genemamba._keys import OBSM_EMBEDDING
from genemamba.errors import InputError
from genemamba.metrics._check import Embedding, Groups, read
from genemamba.metrics._silhouette import silhouette


@documented
def asw_batch(
    X: Embedding, batch: Groups, *, labels: Groups | None = None, use_rep: str = OBSM_EMBEDDING
) -> float:
    """Score how well batches mix (average silhouette width on batches, ASW_batch).

    With `labels`, scIB's form: 1 - abs(silhouette on batches), averaged within each cell type,
    then over types; types seen in one batch only are left out. Without, the paper's formula:
    1 - abs(mean silhouette on batches) over all cells, which ignores types.

    Either form can be high where batches are not mixed but nested; see :func:`bras`.

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
    >>> score = gm.metrics.asw_batch(adata, "phase", labels="bulk_labels", use_rep="X_pca")
    >>> round(score, 2)
    0.9
    """
    space, batches, types = read(X, use_rep, batch=batch, labels=labels)
    if types is None:
        return float(1 - abs(silhouette(space, batches).mean()))
    widths = [
        1 - np.abs(silhouette(space[cells], batches[cells])).mean()
        for cells in types_in_batches(types, batches)
    ]
    return float(np.mean(widths))


def types_in_batches(types: NDArray[np.intp], batches: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the cells of each type for which a silhouette on batches exists."""
    groups = [np.flatnonzero(types == t) for t in np.unique(types)]
    kept = [cells for cells in groups if 1 < len(np.unique(batches[cells])) < len(cells)]
    if not kept:
        raise InputError(
            "no cell type has enough cells in two batches: batch and labels are confounded",
            "choose a batch column that crosses the cell types, or leave `labels` out",
        )
    return kept
