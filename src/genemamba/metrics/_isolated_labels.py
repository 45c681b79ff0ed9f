from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genemamba._keys import OBSM_EMBEDDING
from genemamba.metrics._check import check_batches, check_embedding, check_groups
from genemamba.metrics._from_anndata import from_anndata
from genemamba.metrics._silhouette import silhouette

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from genemamba.metrics._from_anndata import CellTable


def isolated_labels(
    X: ArrayLike | CellTable,
    batch: ArrayLike,
    labels: ArrayLike,
    *,
    use_rep: str = OBSM_EMBEDDING,
) -> float:
    """Say whether cell types that few batches have stay apart from the others.

    scib-metrics' form: isolated are the types seen in the smallest number of batches; the score
    is (silhouette on cell types + 1) / 2, averaged within each of them, then over them. Where
    every type is in every batch all types are isolated, and this is ASW by type.

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
    From 0 to 1; 0.5 where they overlap with others fully.

    Raises
    ------
    InputError
        NaN in any argument, lengths that differ, fewer than two batches or types, a batch of one
        cell, a slot or column that is not there.

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> 0.5 < gm.metrics.isolated_labels(adata, "phase", "bulk_labels", use_rep="X_pca") < 1
    True
    """
    X, batch, labels = from_anndata(X, use_rep, batch=batch, labels=labels)
    X = check_embedding(X)
    batches = check_batches(batch, len(X))
    types = check_groups(labels, len(X), "labels")
    pairs = np.unique(np.stack([types, batches]), axis=1)
    n_batches = np.bincount(pairs[0])
    widths = (silhouette(X, types) + 1) / 2
    isolated = np.flatnonzero(n_batches == n_batches.min())
    return float(np.mean([widths[types == t].mean() for t in isolated]))
