from __future__ import annotations

from typing import TYPE_CHECKING

from genemamba._keys import OBSM_EMBEDDING
from genemamba.metrics._check import check_embedding, check_groups
from genemamba.metrics._from_anndata import from_anndata
from genemamba.metrics._silhouette import silhouette

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from genemamba.metrics._from_anndata import CellTable


def asw_label(
    X: ArrayLike | CellTable, labels: ArrayLike, *, use_rep: str = OBSM_EMBEDDING
) -> float:
    """Say how far apart the cell types lie (average silhouette width, ASW_cell).

    (mean silhouette + 1) / 2 over all cells, Euclidean distances.

    Parameters
    ----------
    X
        Embedding (n_cells, n_features), finite; or an AnnData, then the others are columns of
        ``obs``.
    labels
        Cell type of every cell.
    use_rep
        Slot of ``obsm`` that is read from an AnnData.

    Returns
    -------
    From 0 to 1; 0.5 where types overlap fully, 1 where they are points far apart.

    Raises
    ------
    InputError
        NaN in `X` or `labels`, lengths that differ, fewer than two types, a slot or column that is
        not there.

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> round(gm.metrics.asw_label(adata.obsm["X_pca"], adata.obs["bulk_labels"]), 2)
    0.55
    """
    X, labels = from_anndata(X, use_rep, labels=labels)
    X = check_embedding(X)
    return float((silhouette(X, check_groups(labels, len(X), "labels")).mean() + 1) / 2)
