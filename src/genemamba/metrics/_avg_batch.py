from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from genemamba.metrics._asw_batch import asw_batch
from genemamba.metrics._graph_connectivity import graph_connectivity
from genemamba.metrics._neighbors import Seed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@overload
def avg_batch(
    X: ArrayLike,
    batch: ArrayLike,
    labels: ArrayLike,
    *,
    within_labels: bool = True,
    rng: Seed = 0,
    components: Literal[False] = False,
) -> float: ...
@overload
def avg_batch(
    X: ArrayLike,
    batch: ArrayLike,
    labels: ArrayLike,
    *,
    within_labels: bool = True,
    rng: Seed = 0,
    components: Literal[True],
) -> dict[str, float]: ...
def avg_batch(
    X: ArrayLike,
    batch: ArrayLike,
    labels: ArrayLike,
    *,
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
        Embedding (n_cells, n_features), finite.
    batch
        Batch or donor of every cell.
    labels
        Cell type of every cell.
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
        no cell type seen in two batches (with `within_labels` or `components`).

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> X, phase, types = adata.obsm["X_pca"], adata.obs["phase"], adata.obs["bulk_labels"]
    >>> round(gm.metrics.avg_batch(X, phase, types), 1)
    0.9
    """
    parts = {}
    if within_labels or components:
        parts["asw_batch_within"] = asw_batch(X, batch, labels)
    if not within_labels or components:
        parts["asw_batch_overall"] = asw_batch(X, batch)
    parts["graph_connectivity"] = graph_connectivity(X, labels, rng=rng)
    chosen = parts["asw_batch_within" if within_labels else "asw_batch_overall"]
    score = (chosen + parts["graph_connectivity"]) / 2
    return {"avg_batch": score, **parts} if components else score
