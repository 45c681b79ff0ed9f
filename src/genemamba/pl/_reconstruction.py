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
from genemamba.pl._style import (
    COLORS,
    GREY,
    axes,
    check_choice,
    heading,
    ink,
    inks,
    legend_below,
    panels,
    rows,
)

SIZES = {"density": (5.6, 5.0), "venn": (4.6, 3.4), "summary": (7.4, 4.4)}
SCORES = {  # what it measures, and its name in the literature
    "spearman": "ranks agree\nSpearman",
    "recall_50": "gene is among 50 guesses\nrecall@50",
    "recall": "gene is predicted\nrecall",
    "bleu": "runs of genes agree\nBLEU",
    "nld": "few edits would be needed\n1 − edits / length",
}
LOOKS: dict[str, dict[str, Any]] = {  # of a row of the summary
    "model": {"color": COLORS[0]},
    "mean ranking": {"color": COLORS[1]},
    "copy": {"color": "none", "edgecolor": GREY, "linewidth": 1, "hatch": "///"},
}
WITHOUT = {"mean ranking": "ignores the cell", "copy": "predicts nothing"}
TASKS = {  # verb, and what it is done to
    "masked": ("predicts", "hidden genes"),
    "paper": ("repeats", "genes that it was shown"),
    "next": ("predicts", "genes after the first ones"),
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
    'predicted rank'
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
    verb, what = TASKS[record["params"]["protocol"]]
    cells = f"{record['cells']:,} cells"
    if kind == "density":
        _density(ax, adata, key, record)
        title = f"{record['model']} {verb} the ranks of {what} in {cells}", ""
    elif kind == "venn":
        overlap = record["overlap"]
        _venn(ax, overlap)
        asked = overlap["asked"] + overlap["both"]
        title = (
            f"Of {asked:.0f} {what}, {record['model']} {verb} {overlap['both']:.0f}",
            f"mean of {cells}; areas to scale",
        )
    else:
        _summary(ax, record["table"])
        title = f"How well {record['model']} {verb} {what}", f"mean of {cells}"
    heading(ax, *title)


def _density(ax: Axes, adata: AnnData, key: str, record: Mapping[str, Any]) -> None:
    ranks = adata.obsm[reconstruction_keys(key).rank].tocoo()
    true, rebuilt = ranks.col + 1, ranks.data
    curve: pd.DataFrame = record["curve"]
    most = max(true.max(initial=1), rebuilt.max(initial=1)) + 0.5
    edges = np.linspace(0, most, 61)
    image = ax.hist2d(true, rebuilt, bins=(edges, edges), norm=LogNorm(), cmap=inks(ax))[3]
    ax.figure.colorbar(image, ax=ax, label="genes, of all cells", format="{x:g}")
    ax.plot([0, most], [0, most], color=ink(), lw=1, ls="--", label="perfect (Spearman 1)")
    spearman = record["table"]["spearman"]
    for name, color in (("model", COLORS[0]), ("mean ranking", COLORS[1])):
        note = f", {WITHOUT[name]}" if name in WITHOUT else ""
        ax.plot(curve["rank"], curve[name], color=color, lw=2,
                label=f"median of the {name}{note} (Spearman {spearman[name]:.2f})")  # fmt: skip
    ax.set(xlabel="true rank (1: most characteristic of the cell)", ylabel="predicted rank")
    ax.set(xlim=(0, most), ylim=(0, most))
    legend_below(ax)


def _venn(ax: Axes, overlap: Mapping[str, float]) -> None:
    """Draw two circles whose areas and overlap are the mean numbers of genes of a cell."""
    both = overlap["both"]
    first = np.sqrt((overlap["asked"] + both) / np.pi)
    second = np.sqrt(max(overlap["said"] + both, 1e-9) / np.pi)
    apart = _distance(first, second, both)
    for x, radius, color, name, side in (
        (0.0, first, COLORS[0], "true genes", -1 if apart > 0 else 1),
        (apart, second, COLORS[1], "predicted genes", 1),
    ):
        ax.add_patch(Circle((x, 0), radius, color=color, alpha=0.45, lw=0))
        ax.text(x + side * radius * 0.6, radius * 1.08, name, ha="center", va="bottom")
    for x, n, word in (
        ((-first + min(first, apart - second)) / 2, overlap["asked"], "missed"),
        ((apart - second + first) / 2, both, "right"),
        ((max(first, apart - second) + apart + second) / 2, overlap["said"], "wrong"),
    ):
        if n >= 0.5:
            ax.text(x, 0, f"{n:.0f}\n{word}", ha="center", va="center")
    top = max(first, second)
    ax.set(xlim=(-first * 1.1, max(first, apart + second) * 1.1), ylim=(-top * 1.1, top * 1.35))
    ax.set(aspect="equal", xlabel="genes of a cell", xticks=[], yticks=[])
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
        note = f", {WITHOUT[str(name)]}" if name in WITHOUT else ""
        label = f"{name}{note} ({row['levenshtein']:.0f} edits per cell)"
        bars = ax.barh(y, np.nan_to_num(values), height * 0.9, label=label, **LOOKS[str(name)])
        text = ["no score" if np.isnan(value) else f"{value:.2f}" for value in values]
        ax.bar_label(bars, text, padding=2, fontsize=8)
    rows(ax, [SCORES[name] for name in scores])
    ax.tick_params(axis="y", labelsize="small")
    lowest = min(0.0, float(np.nanmin(table[scores].to_numpy(float))) * 1.1)
    ax.set(xlim=(lowest, 1.12), xlabel="score (1: perfect)")
    legend_below(ax)
