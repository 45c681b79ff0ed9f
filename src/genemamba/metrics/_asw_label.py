from __future__ import annotations

from typing import TYPE_CHECKING

from genemamba.metrics._check import check_embedding, check_groups
from genemamba.metrics._silhouette import silhouette

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def asw_label(X: ArrayLike, labels: ArrayLike) -> float:
    """Say how far apart the cell types lie (average silhouette width, ASW_cell).

    (mean silhouette + 1) / 2 over all cells, Euclidean distances.

    Parameters
    ----------
    X
        Embedding (n_cells, n_features), finite.
    labels
        Cell type of every cell.

    Returns
    -------
    From 0 to 1; 0.5 where types overlap fully, 1 where they are points far apart.

    Raises
    ------
    InputError
        NaN in `X` or `labels`, lengths that differ, fewer than two types.

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> round(gm.metrics.asw_label(adata.obsm["X_pca"], adata.obs["bulk_labels"]), 2)
    0.55
    """
    X = check_embedding(X)
    return float((silhouette(X, check_groups(labels, len(X), "labels")).mean() + 1) / 2)
