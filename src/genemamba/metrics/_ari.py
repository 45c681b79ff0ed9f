from __future__ import annotations

from typing import TYPE_CHECKING

from genemamba.metrics._check import check_groups, check_names

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def ari(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Say how well given clusters match the cell types (adjusted Rand index, ARI).

    Share of pairs of cells on which the two partitions agree, corrected for chance:
    (RI - E[RI]) / (max RI - E[RI]) under permutations of fixed group sizes. Names of clusters do
    not matter. To have the clusters made too, see :func:`leiden_agreement`.

    Parameters
    ----------
    labels
        Cell type of every cell.
    clusters
        Cluster of every cell.

    Returns
    -------
    1 for the same partition, about 0 for chance, negative for less than that (at least -0.5).

    Raises
    ------
    InputError
        NaN in an argument, lengths that differ, fewer than two types.

    Examples
    --------
    >>> import genemamba as gm
    >>> gm.metrics.ari(["B", "B", "T", "T"], [1, 1, 0, 0])
    1.0
    """
    from sklearn.metrics import adjusted_rand_score

    types = check_groups(labels, len(labels), "labels")  # type: ignore[arg-type]
    return float(adjusted_rand_score(types, check_names(clusters, len(types), "clusters")[0]))
