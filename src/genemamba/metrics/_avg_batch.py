from __future__ import annotations

from typing import Literal, overload

from genemamba._docs import documented
from genemamba._keys import OBSM_EMBEDDING
from genemamba._rng import Rng
from genemamba.metrics._asw_batch import asw_batch
from genemamba.metrics._check import Embedding, Groups, read
from genemamba.metrics._graph_connectivity import graph_connectivity


@overload
def avg_batch(
    X: Embedding,
    batch: Groups,
    labels: Groups,
    *,
    use_rep: str = OBSM_EMBEDDING,
    within_labels: bool = True,
    rng: Rng = 0,
    components: Literal[False] = False,
) -> float: ...
@overload
def avg_batch(
    X: Embedding,
    batch: Groups,
    labels: Groups,
    *,
    use_rep: str = OBSM_EMBEDDING,
    within_labels: bool = True,
    rng: Rng = 0,
    components: Literal[True],
) -> dict[str, float]: ...
@documented
def avg_batch(
    X: Embedding,
    batch: Groups,
    labels: Groups,
    *,
    use_rep: str = OBSM_EMBEDDING,
    within_labels: bool = True,
    rng: Rng = 0,
    components: bool = False,
) -> float | dict[str, float]:
    """Score how well an embedding mixes batches (the paper's AvgBATCH).

    Mean of ASW_batch and graph connectivity. The paper writes ASW_batch =
    1 - abs(silhouette on batches) over all cells; its released code calls scIB, which takes it
    within each cell type. The default is scIB's form, the one behind the published figures.
    Batch silhouettes mislead where batches are nested: compare with :func:`bras` and
    :func:`ilisi`.

    Parameters
    ----------
    {X_batch_labels}
    within_labels
        scIB's ASW_batch, within each cell type; else the paper's formula.
    {rng}
    components
        Also return the parts.

    Returns
    -------
    AvgBATCH from 0 to 1; with `components` a dict of ``avg_batch``, ``asw_batch_within``
    (scIB), ``asw_batch_overall`` (paper) and ``graph_connectivity``.

    {bad_groups}

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> round(gm.metrics.avg_batch(adata, "phase", "bulk_labels", use_rep="X_pca"), 1)
    0.9
    """
    X, batches, types = read(X, use_rep, batch=batch, labels=labels)
    parts = {}
    if within_labels or components:
        parts["asw_batch_within"] = asw_batch(X, batches, labels=types)
    if not within_labels or components:
        parts["asw_batch_overall"] = asw_batch(X, batches)
    parts["graph_connectivity"] = graph_connectivity(X, types, rng=rng)
    chosen = parts["asw_batch_within" if within_labels else "asw_batch_overall"]
    score = (chosen + parts["graph_connectivity"]) / 2
    return {"avg_batch": score, **parts} if components else score
