from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from genemamba._keys import OBSM_EMBEDDING
from genemamba.metrics._asw_batch import asw_batch
from genemamba.metrics._from_anndata import from_anndata
from genemamba.metrics._graph_connectivity import graph_connectivity
from genemamba.metrics._neighbors import Seed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from genemamba.metrics._from_anndata import CellTable


@overload
def avg_batch(
    X: ArrayLike | CellTable,
    batch: ArrayLike,
    labels: ArrayLike,
    *,
    use_rep: str = OBSM_EMBEDDING,
    within_labels: bool = True,
    rng: Seed = 0,
    components: Literal[False] = False,
) -> float: ...
@overload
def avg_batch(
    X: ArrayLike | CellTable,
    batch: ArrayLike,
    labels: ArrayLike,
    *,
    use_rep: str = OBSM_EMBEDDING,
    within_labels: bool = True,
    rng: Seed = 0,
    components: Literal[True],
) -> dict[str, float]: ...
def avg_batch(
    X: ArrayLike | CellTable,
    batch: ArrayLike,
    labels: ArrayLike,
    *,
    use_rep: str = OBSM_EMBEDDING,
    within_labels: bool = True,
    rng: Seed = 0,
    components: bool = False,
) -> float | dict[str, float]:
    """Say how well an embedding mixes batches (the paper's AvgBATCH).

    Mean of ASW_batch and graph connectivity. The paper writes ASW_batch =
    1 - abs(silhouette on batches) over all cells; its released code calls scIB, which takes it
    within each cell type. The default is scIB's form, the one behind the published figures.
    Batch silhouettes mislead where batches are nested: read :func:`bras` and :func:`ilisi`
    beside it.

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
    within_labels
        scIB's ASW_batch, within each cell type; else the paper's formula.
    rng
        Seed of the neighbour search.
    components
        Return the parts too.

    Returns
    -------
    AvgBATCH from 0 to 1; with `components` a dict of ``avg_batch``, ``asw_batch_within``
    (scIB), ``asw_batch_overall`` (paper) and ``graph_connectivity``.

    Raises
    ------
    InputError
        NaN in any argument, lengths that differ, fewer than two batches or types,
        a batch of one cell, a slot or column that is not there, no cell type seen in two batches
        (with `within_labels` or `components`).

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> round(gm.metrics.avg_batch(adata, "phase", "bulk_labels", use_rep="X_pca"), 1)
    0.9
    """
    X, batch, labels = from_anndata(X, use_rep, batch=batch, labels=labels)
    parts = {}
    if within_labels or components:
        parts["asw_batch_within"] = asw_batch(X, batch, labels)
    if not within_labels or components:
        parts["asw_batch_overall"] = asw_batch(X, batch)
    parts["graph_connectivity"] = graph_connectivity(X, labels, rng=rng)
    chosen = parts["asw_batch_within" if within_labels else "asw_batch_overall"]
    score = (chosen + parts["graph_connectivity"]) / 2
    return {"avg_batch": score, **parts} if components else score
