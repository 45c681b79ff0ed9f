from __future__ import annotations

from numpy.typing import ArrayLike

from genemamba._docs import documented
from genemamba.metrics._check import check_groups, check_names


@documented
def nmi(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Compare clusters with cell types: normalised mutual information (NMI).

    I(labels; clusters) divided by the arithmetic mean of the two entropies, as in scIB. Not
    corrected for chance: many small clusters score above 0. To cluster as well, see
    :func:`leiden_agreement`.

    Parameters
    ----------
    {labels_clusters}

    Returns
    -------
    From 0 to 1; 1 for the same partition.

    {bad_groups}

    Examples
    --------
    >>> import genemamba as gm
    >>> gm.metrics.nmi(["B", "B", "T", "T"], ["x", "x", "x", "x"])
    0.0
    """
    from sklearn.metrics import normalized_mutual_info_score as nmi_score

    types = check_groups(labels, None, "labels")
    return float(nmi_score(types, check_names(clusters, len(types), "clusters")))
