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
from genemamba.pl._cells import draw_groups
from genemamba.pl._style import (
    COLORS,
    GREY,
    SCORE_NAMES,
    faded,
    heading,
    legend_below,
    panels,
    rows,
)

BIO = ("asw_label", "nmi", "ari", "avg_bio")  # blue: types are apart; the others, of batches
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

    The UMAP is computed for the plot, from 15 neighbours. It distorts distances: the scores are
    those of the embedding itself. Groups have scanpy's colours, if ``uns["<column>_colors"]`` has
    them, and grey for "unknown". 2,000 cells take about five seconds on one CPU core; the first
    call in a session takes half a minute, for UMAP is compiled.

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
    lines = max(_legend(adata.obs[key])[1] for key in groups.values())
    widths = [4.6] * len(groups) + [4.4]
    drawn = panels([*groups, "scores"], sum(widths), 4.9 + 0.17 * lines, width_ratios=widths)
    for name, key in groups.items():
        _umap(drawn[name], work.obsm["X_umap"], adata, key)
    _bars(drawn["scores"], {name: scores[name] for name in SCORE_NAMES if name in scores})
    heading(drawn["labels"], f"{use_rep}: {adata.n_obs:,} cells by {label_key}",
            "good: each colour in its own place")  # fmt: skip
    if batch_key:
        heading(drawn["batch"], f"the same cells by {batch_key}", "good: colours mixed everywhere")
    heading(drawn["scores"], f"scores of {use_rep} itself", "a UMAP distorts distances")
    return drawn


def _legend(values: pd.Series) -> tuple[int, int]:
    """Return columns and rows of the legend of groups."""
    names = values.dropna().astype(str).unique()
    columns = 2 if max(map(len, names)) > 12 else 3
    return columns, -(-len(names) // columns)


def _umap(ax: Axes, xy: np.ndarray, adata: AnnData, key: str) -> None:
    draw_groups(ax, xy, adata, key)
    ax.set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])
    legend_below(ax, ncols=_legend(adata.obs[key])[0], handletextpad=0.1, columnspacing=1)


def _bars(ax: Axes, scores: dict[str, float]) -> None:
    """Draw the scores, means bolder than their parts, types blue and batches orange."""
    hues = [COLORS[0] if name in BIO else COLORS[1] for name in scores]
    colors = [
        hue if name in MEANS else faded(ax, 0.5, hue)
        for name, hue in zip(scores, hues, strict=True)
    ]
    bars = ax.barh(range(len(scores)), list(scores.values()), color=colors)
    ax.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    rows(ax, [SCORE_NAMES[name] for name in scores])
    ax.tick_params(axis="y", labelsize="small")
    ax.set(xlim=(min(0, *scores.values()), 1.12), xticks=[0, 0.5, 1])
    ax.set_xlabel("score (0 worst, 1 best; bold: means)")
    ax.axvline(1, color=GREY, lw=0.5)
