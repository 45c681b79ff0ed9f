"""Plot an embedding and its scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from matplotlib.axes import Axes

from genemamba._docs import documented
from genemamba._keys import OBSM_EMBEDDING
from genemamba._machine import same_threads
from genemamba._rng import Rng, seed_of
from genemamba.compare.scoreboard import score
from genemamba.metrics._check import read
from genemamba.pl._style import COLORS, GREY, SCORE_NAMES, class_order, looks, panels, rows

MEANS = ("avg_bio", "avg_batch")


@documented
def embedding_quality(
    adata: AnnData,
    label_key: str,
    *,
    batch_key: str | None = None,
    use_rep: str = OBSM_EMBEDDING,
    rng: Rng = 0,
) -> dict[str, Axes]:
    """Plot an embedding: UMAP by cell type and batch, and its scores.

    The UMAP is computed for the plot, from 15 neighbours. A UMAP distorts distances: the scores
    are those of the embedding itself.

    Parameters
    ----------
    adata
        Cells with an embedding.
    {label_key}
    batch_key
        Column of ``obs`` with the batch or donor.
    use_rep
        Slot of ``obsm``.
    rng
        Seed, or generator, of neighbours, UMAP and Leiden.

    Returns
    -------
    Axes of a new figure by name: ``labels``, ``batch`` (with `batch_key`) and ``scores``. Nothing
    is written.

    {no_result}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sorted(gm.pl.embedding_quality(adata, "bulk_labels", use_rep="X_pca"))
    ['labels', 'scores']
    """
    seed = seed_of(rng)
    X, types, batches = read(adata, use_rep, labels=label_key, batch=batch_key)
    scores = score(X, types, batches, seed)
    work = AnnData(obs=pd.DataFrame(index=adata.obs_names), obsm={"X": X})
    with same_threads():
        sc.pp.neighbors(work, use_rep="X", random_state=seed)
        sc.tl.umap(work, random_state=seed)
    groups = {"labels": label_key} | ({"batch": batch_key} if batch_key else {})
    widths = [4.6] * len(groups) + [3.0]
    drawn = panels([*groups, "scores"], sum(widths) + 0.6, 5.6, width_ratios=widths)
    drawn["scores"].figure.suptitle(f"{use_rep}, {adata.n_obs:,} cells")
    for name, key in groups.items():
        _umap(drawn[name], work.obsm["X_umap"], adata.obs[key], key)
    _bars(drawn["scores"], {name: scores[name] for name in SCORE_NAMES if name in scores})
    return drawn


def _umap(ax: Axes, xy: np.ndarray, values: pd.Series, title: str) -> None:
    """Draw cells in random order, so that no group hides another."""
    order = class_order(values)
    codes = pd.Categorical(values.astype(str), categories=order).codes
    colors, markers = np.array(looks(order))[codes].T
    shuffled = np.random.default_rng(0).permutation(len(xy))
    size = float(np.clip(20_000 / len(xy), 1, 14))
    for marker in np.unique(markers):
        cells = shuffled[markers[shuffled] == marker]
        ax.scatter(
            xy[cells, 0], xy[cells, 1], s=size, c=colors[cells].tolist(), marker=marker,
            linewidths=0, rasterized=True,
        )  # fmt: skip
    for name, (color, marker) in zip(order, looks(order), strict=True):
        ax.plot([], [], label=name, ls="none", ms=5, color=color, marker=marker)
    columns = 2 if max(map(len, order)) > 12 else 4
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=columns, frameon=False,
              fontsize=8, handletextpad=0.1, columnspacing=1)  # fmt: skip
    ax.set(title=title, xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])


def _bars(ax: Axes, scores: dict[str, float]) -> None:
    """Draw the scores, means darker than their parts."""
    colors = [COLORS[0] if name in MEANS else "#b2d3f0" for name in scores]
    bars = ax.barh(range(len(scores)), list(scores.values()), color=colors)
    ax.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    rows(ax, [SCORE_NAMES[name] for name in scores])
    ax.set(xlim=(0, 1.12), xticks=[0, 0.5, 1], xlabel="score", title="scores")
    ax.axvline(1, color=GREY, lw=0.5)
