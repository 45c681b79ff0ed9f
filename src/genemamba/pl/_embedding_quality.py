"""An embedding at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData

from genemamba._keys import OBSM_EMBEDDING
from genemamba._machine import same_threads
from genemamba.metrics import avg_batch, avg_bio, bras, ilisi
from genemamba.metrics._check import check_embedding
from genemamba.metrics._from_anndata import column, from_anndata
from genemamba.pl._style import COLORS, GREY, class_order, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

NAMES = {
    "asw_label": "ASW of types",
    "nmi": "NMI",
    "ari": "ARI",
    "avg_bio": "AvgBIO",
    "graph_connectivity": "connectivity",
    "asw_batch_within": "ASW of batches",
    "avg_batch": "AvgBATCH",
    "bras": "BRAS",
    "ilisi": "iLISI",
}
MEANS = ("avg_bio", "avg_batch")


def embedding_quality(
    adata: AnnData,
    label_key: str,
    *,
    batch_key: str | None = None,
    use_rep: str = OBSM_EMBEDDING,
    rng: int = 0,
) -> dict[str, Axes]:
    """Look at an embedding: UMAP by cell type and batch, and the scores beside it.

    The UMAP is made for the picture from 15 neighbours. A UMAP distorts distances: the scores are
    of the embedding itself.

    Parameters
    ----------
    adata
        Cells with an embedding.
    label_key
        Column of ``obs`` with the cell type.
    batch_key
        Column of ``obs`` with the batch or donor.
    use_rep
        Slot of ``obsm``.
    rng
        Seed of neighbours, UMAP and Leiden.

    Returns
    -------
    Axes of a new figure by name: ``labels``, ``batch`` (with `batch_key`) and ``scores``. Nothing
    is written.

    Raises
    ------
    InputError
        If the slot or a column is missing or holds NaN, or labels are numbers.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sorted(gm.pl.embedding_quality(adata, "bulk_labels", use_rep="X_pca"))
    ['labels', 'scores']
    """
    X, labels = from_anndata(adata, use_rep, labels=label_key)
    X = check_embedding(X)
    groups = {"labels": label_key} | ({"batch": batch_key} if batch_key else {})
    scores = _scores(X, labels, column(adata, batch_key, "batch") if batch_key else None, rng)
    work = AnnData(obs=pd.DataFrame(index=adata.obs_names), obsm={"X": X})
    with same_threads():
        sc.pp.neighbors(work, use_rep="X", random_state=rng)
        sc.tl.umap(work, random_state=rng)
    names = [*groups, "scores"]
    figure = plt.figure(figsize=(4.6 * len(groups) + 3.6, 5.6), layout="constrained")
    panels = figure.subplots(1, len(names), width_ratios=[4.6] * len(groups) + [3.0])
    drawn: dict[str, Axes] = dict(zip(names, panels, strict=True))
    figure.suptitle(f"{use_rep}, {adata.n_obs:,} cells")
    for name, key in groups.items():
        _umap(drawn[name], work.obsm["X_umap"], adata.obs[key], key)
    _bars(drawn["scores"], scores)
    return drawn


def _scores(
    X: NDArray[np.float32], labels: NDArray[Any], batch: NDArray[Any] | None, rng: int
) -> dict[str, float]:
    """Return the scores in the order of their names."""
    found = avg_bio(X, labels, rng=rng, components=True)
    if batch is not None:
        found |= avg_batch(X, batch, labels, rng=rng, components=True)
        found |= {"bras": bras(X, batch, labels), "ilisi": ilisi(X, batch, rng=rng)}
    return {name: found[name] for name in NAMES if name in found}


def _umap(ax: Axes, xy: np.ndarray, values: pd.Series, title: str) -> None:
    """Draw cells in random order, so that no group hides another."""
    order = class_order(values)
    codes = pd.Categorical(values.astype(str), categories=order).codes
    shuffled = np.random.default_rng(0).permutation(len(xy))
    size = float(np.clip(20_000 / len(xy), 1, 14))
    for start in range(0, len(order), len(COLORS)):  # one marker each
        cells = shuffled[(codes[shuffled] // len(COLORS)) == start // len(COLORS)]
        ax.scatter(
            xy[cells, 0], xy[cells, 1], s=size, c=[COLORS[c % len(COLORS)] for c in codes[cells]],
            marker=look(start)["marker"], linewidths=0, rasterized=True,
        )  # fmt: skip
    for i, name in enumerate(order):
        ax.plot([], [], label=name, ls="none", ms=5, **look(i))
    columns = 2 if max(map(len, order)) > 12 else 4
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=columns, frameon=False,
              fontsize=8, handletextpad=0.1, columnspacing=1)  # fmt: skip
    ax.set(title=title, xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])


def _bars(ax: Axes, scores: dict[str, float]) -> None:
    """Draw the scores, means darker than what they are means of."""
    colors = [COLORS[0] if name in MEANS else "#b2d3f0" for name in scores]
    bars = ax.barh([NAMES[name] for name in scores], list(scores.values()), color=colors)
    ax.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    ax.set(xlim=(0, 1.12), xticks=[0, 0.5, 1], xlabel="score", title="scores")
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.axvline(1, color=GREY, lw=0.5)
