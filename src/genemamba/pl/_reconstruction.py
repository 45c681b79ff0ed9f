"""Plot rankings that a model reconstructed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Circle

from genemamba._docs import documented
from genemamba._keys import RECONSTRUCTION, reconstruction_keys, recorded
from genemamba.errors import InputError
from genemamba.pl._style import COLORS, GREY, axes, check_choice, panels, rows

SIZES = {"density": (4.8, 4.2), "venn": (4.2, 3.2), "summary": (5.2, 4.0)}
SCORES = {
    "spearman": "Spearman",
    "recall_50": "recall among the 50 most likely",
    "recall": "recall",
    "bleu": "BLEU",
    "nld": "1 − edits / length",
}
LOOKS: dict[str, dict[str, Any]] = {  # of a row of the summary
    "model": {"color": COLORS[0]},
    "mean ranking": {"color": COLORS[1]},
    "copy": {"color": "white", "edgecolor": GREY, "linewidth": 1, "hatch": "///"},
}


@documented
def reconstruction(
    adata: AnnData,
    kind: Literal["density", "venn", "summary"] = "density",
    *,
    key: str | Sequence[str] = RECONSTRUCTION,
    ax: Axes | None = None,
) -> Axes | dict[str, Axes]:
    """Plot reconstructed rankings against those of the cells.

    ``"density"``: true against reconstructed rank of every target gene, darker where there are
    more; the dashed line is a perfect reconstruction, the other two are medians: of the model, and
    of the mean ranking, which ignores the cell. ``"venn"``: target genes and predicted genes,
    areas to scale. ``"summary"``: the scores, with those of the mean ranking and of a copy.

    Parameters
    ----------
    adata
        Cells that ``gm.tl.reconstruct`` was run on.
    kind
        What to plot.
    key
        The `key_added` of a reconstruction, or of several to plot side by side.
    {ax}

    Returns
    -------
    The axes; of several reconstructions, the axes of each by its key. Nothing is written.

    {no_result}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.tl.reconstruct(adata, layer="raw", n_cells=20)
    >>> gm.pl.reconstruction(adata).get_ylabel()
    'reconstructed rank'
    """
    check_choice("kind", kind, *SIZES)
    names = [key] if isinstance(key, str) else list(key)
    records = {name: _record(adata, name) for name in names}
    width, height = SIZES[kind]
    if isinstance(key, str):
        drawn = {key: axes(ax, width, height)}
    elif ax is not None:
        raise InputError("ax is one, but several reconstructions are to be plotted", "leave out ax")
    else:
        drawn = panels(names, width * len(names), height, sharey=kind == "density")
    for name, panel in drawn.items():
        _draw(panel, adata, kind, name, records[name])
    return drawn[key] if isinstance(key, str) else drawn


def _record(adata: AnnData, key: str) -> Mapping[str, Any]:
    found = recorded(adata, reconstruction_keys(key).record)
    if not found:
        option = "" if key == RECONSTRUCTION else f", key_added={key!r}"
        raise InputError(
            f"adata has no reconstruction {key!r}",
            f"make it first: gm.tl.reconstruct(adata{option})",
        )
    return found


def _draw(ax: Axes, adata: AnnData, kind: str, key: str, record: Mapping[str, Any]) -> None:
    if kind == "density":
        _density(ax, adata, key, record)
    elif kind == "venn":
        _venn(ax, record["overlap"])
    else:
        _summary(ax, record["table"])
    ax.set_title(f"{record['model']}, {record['params']['protocol']}, {record['cells']:,} cells")


def _density(ax: Axes, adata: AnnData, key: str, record: Mapping[str, Any]) -> None:
    ranks = adata.obsm[reconstruction_keys(key).rank].tocoo()
    true, rebuilt = ranks.col + 1, ranks.data
    curve: pd.DataFrame = record["curve"]
    most = max(true.max(initial=1), rebuilt.max(initial=1)) + 0.5
    edges = np.linspace(0, most, 61)
    image = ax.hist2d(true, rebuilt, bins=(edges, edges), norm=LogNorm(), cmap="Greys")[3]
    ax.figure.colorbar(image, ax=ax, label="genes of cells")
    ax.plot([0, most], [0, most], color="black", lw=1, ls="--", label="perfect")
    for name, color in (("model", COLORS[0]), ("mean ranking", COLORS[1])):
        ax.plot(curve["rank"], curve[name], color=color, lw=2, label=f"{name}, median")
    ax.set(xlabel="true rank", ylabel="reconstructed rank", xlim=(0, most), ylim=(0, most))
    spearman = record["table"]["spearman"]
    text = f"Spearman {spearman['model']:.2f}\nmean ranking {spearman['mean ranking']:.2f}"
    ax.text(0.97, 0.03, text, transform=ax.transAxes, ha="right", va="bottom", fontsize=9,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none"})  # fmt: skip
    ax.legend(loc="upper left", fontsize=8, framealpha=0.8)


def _venn(ax: Axes, overlap: Mapping[str, float]) -> None:
    """Draw two circles whose areas and overlap are the mean numbers of genes of a cell."""
    both = overlap["both"]
    first = np.sqrt((overlap["asked"] + both) / np.pi)
    second = np.sqrt(max(overlap["said"] + both, 1e-9) / np.pi)
    apart = _distance(first, second, both)
    for x, radius, color, name, side in (
        (0.0, first, COLORS[0], "target", -1 if apart > 0 else 1),
        (apart, second, COLORS[1], "predicted", 1),
    ):
        ax.add_patch(Circle((x, 0), radius, color=color, alpha=0.45, lw=0))
        ax.text(x + side * radius * 0.6, radius * 1.08, name, ha="center", va="bottom")
    for x, n in (
        ((-first + min(first, apart - second)) / 2, overlap["asked"]),
        ((apart - second + first) / 2, both),
        ((max(first, apart - second) + apart + second) / 2, overlap["said"]),
    ):
        if n >= 0.5:
            ax.text(x, 0, f"{n:.0f}", ha="center", va="center", fontsize=11)
    top = max(first, second)
    ax.set(xlim=(-first * 1.1, max(first, apart + second) * 1.1), ylim=(-top * 1.1, top * 1.35))
    ax.set(aspect="equal", xlabel="genes of a cell, mean", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def _distance(a: float, b: float, area: float) -> float:
    """Find by bisection how far apart two circles are that share this area."""
    low, high = abs(a - b), a + b
    for _ in range(50):
        d = (low + high) / 2
        low, high = (d, high) if _shared_area(a, b, d) > area else (low, d)
    return low


def _shared_area(a: float, b: float, d: float) -> float:
    if d <= abs(a - b):
        return float(np.pi * min(a, b) ** 2)
    x = (d**2 + a**2 - b**2) / (2 * d)
    angles = np.arccos(np.clip([x / a, (d - x) / b], -1, 1))
    parts = np.array([a**2, b**2]) * (angles - np.sin(angles) * np.cos(angles))
    return float(parts.sum())


def _summary(ax: Axes, table: pd.DataFrame) -> None:
    scores = [name for name in SCORES if table[name].notna().any()]
    height = 0.8 / len(table)
    for i, (name, row) in enumerate(table.iterrows()):
        y = np.arange(len(scores)) + (i - (len(table) - 1) / 2) * height
        values = row[scores].to_numpy(float)
        label = f"{name}: {row['levenshtein']:.0f} edits per cell"
        bars = ax.barh(y, np.nan_to_num(values), height * 0.9, label=label, **LOOKS[str(name)])
        text = ["–" if np.isnan(value) else f"{value:.2f}" for value in values]
        ax.bar_label(bars, text, padding=2, fontsize=8)
    rows(ax, [SCORES[name] for name in scores])
    lowest = min(0.0, float(np.nanmin(table[scores].to_numpy(float))) * 1.1)
    ax.set(xlim=(lowest, 1.12), xlabel="score")
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.16), frameon=False, fontsize=8)
