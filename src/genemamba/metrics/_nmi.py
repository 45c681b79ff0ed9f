from __future__ import annotations

from typing import TYPE_CHECKING

from genemamba.metrics._check import check_groups, check_names

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def nmi(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Say how well given clusters match the cell types (normalised mutual information, NMI).

    I(labels; clusters) divided by the arithmetic mean of the two entropies, as in scIB. Not
    corrected for chance: many small clusters score above 0. To have the clusters made too, see
    :func:`leiden_agreement`.

    Parameters
    ----------
    labels
        Cell type of every cell.
    clusters
        Cluster of every cell.

    Returns
    -------
    From 0 to 1; 1 for the same partition.

    Raises
    ------
    InputError
        NaN in an argument, lengths that differ, fewer than two types.

    Examples
    --------
    >>> import genemamba as gm
    >>> gm.metrics.nmi(["B", "B", "T", "T"], ["x", "x", "x", "x"])
    0.0
    """
    from sklearn.metrics import normalized_mutual_info_score

    types = check_groups(labels, len(labels), "labels")  # type: ignore[arg-type]
    groups = check_names(clusters, len(types), "clusters")[0]
    return float(normalized_mutual_info_score(types, groups))
