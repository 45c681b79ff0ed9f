from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from genemamba._keys import OBSM_EMBEDDING
from genemamba.metrics._asw_label import asw_label
from genemamba.metrics._from_anndata import from_anndata
from genemamba.metrics._leiden_agreement import leiden_agreement
from genemamba.metrics._neighbors import Seed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from genemamba.metrics._from_anndata import CellTable


@overload
def avg_bio(
    X: ArrayLike | CellTable,
    labels: ArrayLike,
    *,
    use_rep: str = OBSM_EMBEDDING,
    rng: Seed = 0,
    components: Literal[False] = False,
) -> float: ...
@overload
def avg_bio(
    X: ArrayLike | CellTable,
    labels: ArrayLike,
    *,
    use_rep: str = OBSM_EMBEDDING,
    rng: Seed = 0,
    components: Literal[True],
) -> dict[str, float]: ...
def avg_bio(
    X: ArrayLike | CellTable,
    labels: ArrayLike,
    *,
    use_rep: str = OBSM_EMBEDDING,
    rng: Seed = 0,
    components: bool = False,
) -> float | dict[str, float]:
    """Say how much of the cell types an embedding keeps (the paper's AvgBIO).

    Mean of ARI, NMI and ASW_cell = (silhouette + 1) / 2. ARI and NMI are those of the Leiden
    clustering, among resolutions 0.1, 0.2, … 2.0, with the highest NMI (scIB's search): the
    labels choose the resolution, see :func:`leiden_agreement`.

    Parameters
    ----------
    X
        Embedding (n_cells, n_features), finite; or an AnnData, then the others are columns of
        ``obs``. Score an embedding that was tuned with these labels on cells that the tuning did
        not see; from an AnnData, a warning says where that was not done.
    labels
        Cell type of every cell.
    use_rep
        Slot of ``obsm`` that is read from an AnnData.
    rng
        Seed of the neighbour search and of Leiden.
    components
        Return the parts too.

    Returns
    -------
    AvgBIO, about 0.2 for random vectors and 1 for perfect clusters; with `components` a dict
    of ``avg_bio``, ``ari``, ``nmi``, ``asw_label`` and ``resolution``.

    Raises
    ------
    InputError
        NaN in `X` or `labels`, lengths that differ, fewer than two types, a slot or column that is
        not there.

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.metrics.avg_bio(adata.obsm["X_pca"], adata.obs["bulk_labels"]) > 0.5
    True
    >>> gm.metrics.avg_bio(adata, "bulk_labels", use_rep="X_pca") > 0.5
    True
    """
    X, labels = from_anndata(X, use_rep, labels=labels)
    parts = {"asw_label": asw_label(X, labels), **leiden_agreement(X, labels, rng=rng)}
    score = (parts["ari"] + parts["nmi"] + parts["asw_label"]) / 3
    return {"avg_bio": score, **parts} if components else score
