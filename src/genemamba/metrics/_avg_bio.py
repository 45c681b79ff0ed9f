from __future__ import annotations

from typing import Literal, overload

from genemamba._docs import documented
from genemamba._keys import OBSM_EMBEDDING
from genemamba._rng import Rng
from genemamba.metrics._asw_label import asw_label
from genemamba.metrics._check import Embedding, Groups, read
from genemamba.metrics._leiden_agreement import leiden_agreement


@overload
def avg_bio(
    X: Embedding,
    labels: Groups,
    *,
    use_rep: str = OBSM_EMBEDDING,
    rng: Rng = 0,
    components: Literal[False] = False,
) -> float: ...
@overload
def avg_bio(
    X: Embedding,
    labels: Groups,
    *,
    use_rep: str = OBSM_EMBEDDING,
    rng: Rng = 0,
    components: Literal[True],
) -> dict[str, float]: ...
@documented
def avg_bio(
    X: Embedding,
    labels: Groups,
    *,
    use_rep: str = OBSM_EMBEDDING,
    rng: Rng = 0,
    components: bool = False,
) -> float | dict[str, float]:
    """Score how well an embedding keeps cell types (the paper's AvgBIO).

    Mean of ARI, NMI and ASW_cell = (silhouette + 1) / 2. ARI and NMI are those of the Leiden
    clustering, among resolutions 0.1, 0.2, … 2.0, with the highest NMI (scIB's search): the
    labels choose the resolution, see :func:`leiden_agreement`. Score an embedding that was tuned
    with these labels on cells that the tuning did not see; with an AnnData, a warning says if not.

    Parameters
    ----------
    {X_labels}
    {rng}
    components
        Also return the parts.

    Returns
    -------
    AvgBIO, about 0.2 for random vectors and 1 for perfect clusters; with `components` a dict
    of ``avg_bio``, ``ari``, ``nmi``, ``asw_label`` and ``resolution``.

    {bad_groups}

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.metrics.avg_bio(adata, "bulk_labels", use_rep="X_pca") > 0.5
    True
    """
    X, types = read(X, use_rep, labels=labels)
    parts = {"asw_label": asw_label(X, types), **leiden_agreement(X, types, rng=rng)}
    score = (parts["ari"] + parts["nmi"] + parts["asw_label"]) / 3
    return {"avg_bio": score, **parts} if components else score
