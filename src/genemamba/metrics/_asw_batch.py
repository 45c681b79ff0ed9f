from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genemamba._keys import OBSM_EMBEDDING
from genemamba.errors import InputError
from genemamba.metrics._check import check_batches, check_embedding, check_groups
from genemamba.metrics._from_anndata import from_anndata
from genemamba.metrics._silhouette import silhouette

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from genemamba.metrics._from_anndata import CellTable


def asw_batch(
    X: ArrayLike | CellTable,
    batch: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    use_rep: str = OBSM_EMBEDDING,
) -> float:
    """Say how well batches mix (average silhouette width on batches, ASW_batch).

    With `labels`, scIB's form: 1 - abs(silhouette on batches), averaged within each cell type,
    then over types; types seen in one batch only are left out. Without, the paper's formula:
    1 - abs(mean silhouette on batches) over all cells, blind to types.

    Either form can be high where batches are not mixed but nested; see :func:`bras`.

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
    >>> round(gm.metrics.asw_batch(X, phase, types), 2)
    0.9
    """
    X, batch, labels = from_anndata(X, use_rep, batch=batch, labels=labels)
    X = check_embedding(X)
    batches = check_batches(batch, len(X))
    if labels is None:
        return float(1 - abs(silhouette(X, batches).mean()))
    types = check_groups(labels, len(X), "labels")
    widths = [
        1 - np.abs(silhouette(X[cells], batches[cells])).mean()
        for cells in types_in_batches(types, batches)
    ]
    return float(np.mean(widths))


def types_in_batches(types: NDArray[np.intp], batches: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the cells of each type for which a silhouette on batches exists."""
    groups = [np.flatnonzero(types == t) for t in np.unique(types)]
    kept = [cells for cells in groups if 1 < len(np.unique(batches[cells])) < len(cells)]
    if not kept:
        raise InputError(
            "no cell type has two batches with cells enough: batch and labels are confounded",
            "choose a batch column that crosses the cell types, or leave `labels` out",
        )
    return kept
