from __future__ import annotations

from numpy.typing import ArrayLike

from genemamba._docs import documented
from genemamba.metrics._check import check_groups, check_names


@documented
def ari(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Compare clusters with cell types: adjusted Rand index (ARI).

    Fraction of pairs of cells on which the two partitions agree, corrected for chance:
    (RI - E[RI]) / (max RI - E[RI]) under permutations of fixed group sizes. Names of clusters do
    not matter. To cluster as well, see :func:`leiden_agreement`.

    Parameters
    ----------
    {labels_clusters}

    Returns
    -------
    1 for the same partition, about 0 for chance, negative for less than that (at least -0.5).

    {bad_groups}

    Examples
    --------
    >>> import genemamba as gm
    >>> gm.metrics.ari(["B", "B", "T", "T"], [1, 1, 0, 0])
    1.0
    """
    from sklearn.metrics import adjusted_rand_score

    types = check_groups(labels, None, "labels")
    return float(adjusted_rand_score(types, check_names(clusters, len(types), "clusters")))
