from __future__ import annotations

from typing import TYPE_CHECKING

from genemamba._keys import OBSM_EMBEDDING
from genemamba.metrics._check import check_batches, check_embedding
from genemamba.metrics._from_anndata import from_anndata
from genemamba.metrics._neighbors import Seed, nearest_neighbors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from genemamba.metrics._from_anndata import CellTable

LISI_NEIGHBORS = 90  # scib-metrics: perplexity 30 out of three times as many neighbours


def ilisi(
    X: ArrayLike | CellTable, batch: ArrayLike, *, use_rep: str = OBSM_EMBEDDING, rng: Seed = 0
) -> float:
    """Say how many batches a cell finds among its neighbours (iLISI).

    Median over cells of the inverse Simpson index of the batches among 90 neighbours
    (perplexity 30), scaled so that 0 is one batch and 1 is all batches alike. Needs no labels,
    so it also falls where batches hold different cell types.

    Parameters
    ----------
    X
        Embedding (n_cells, n_features), finite; or an AnnData, then the others are columns of
        ``obs``.
    batch
        Batch or donor of every cell.
    use_rep
        Slot of ``obsm`` that is read from an AnnData.
    rng
        Seed of the neighbour search.

    Returns
    -------
    From 0 to 1; 1 where every neighbourhood holds all batches alike.

    Raises
    ------
    InputError
        NaN in any argument, lengths that differ, fewer than two batches, a batch of one cell,
        a slot or column that is not there.

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> 0 < gm.metrics.ilisi(adata.obsm["X_pca"], adata.obs["phase"]) < 1
    True
    """
    from scib_metrics import ilisi_knn

    X, batch = from_anndata(X, use_rep, batch=batch)
    X = check_embedding(X)
    batches = check_batches(batch, len(X))
    return float(ilisi_knn(nearest_neighbors(X, rng, LISI_NEIGHBORS), batches))
