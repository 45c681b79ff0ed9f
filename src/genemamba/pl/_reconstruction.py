"""How a model rebuilds cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.patches import Circle

from genemamba._keys import RECONSTRUCTION, reconstruction_keys
from genemamba.errors import InputError
from genemamba.metrics._from_anndata import provenance
from genemamba.pl._style import COLORS, GREY, axes

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes

SIZES = {"density": (4.8, 4.2), "venn": (4.2, 3.2), "summary": (5.2, 4.0)}
SCORES = {
    "spearman": "Spearman",
    "recall_50": "among the 50 likeliest",
    "recall": "found at all",
    "bleu": "BLEU",
    "nld": "1 − edits / length",
}
LOOKS: dict[str, dict[str, Any]] = {  # color and filling of a row of the summary
    "model": {"color": COLORS[0]},
    "mean ranking": {"color": COLORS[1]},
    "copy": {"color": "white", "edgecolor": GREY, "linewidth": 1, "hatch": "///"},
}


def reconstruction(
    adata: AnnData,
    kind: Literal["density", "venn", "summary"] = "density",
    *,
    key: str | Sequence[str] = RECONSTRUCTION,
    ax: Axes | None = None,
) -> Axes | dict[str, Axes]:
    """Show how the rankings that a model rebuilt compare with those of the cells.

    ``"density"``: true against rebuilt rank of every gene that was asked for, darker where there
    are more; the dashed line is a perfect answer, the other two are medians: of the model, and of
    the mean ranking, which knows nothing of the cell. ``"venn"``: genes asked for and genes said,
    areas to scale. ``"summary"``: the scores beside those of the mean ranking and of a copy.

    Parameters
    ----------
    adata
        Cells that ``gm.tl.reconstruct`` was run on.
    kind
        What to draw.
    key
        The `key_added` of a reconstruction, or of several that are to stand side by side.
    ax
        Axes to draw one reconstruction on, else those of a new figure.

    Returns
    -------
    The axes; of several reconstructions, the axes of each by its key. Nothing is written.

    Raises
    ------
    InputError
        If `kind` is unknown, there is no such reconstruction, or `ax` is given for several.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.tl.reconstruct(adata, layer="raw", n_cells=20)
    >>> gm.pl.reconstruction(adata).get_ylabel()
    'rebuilt rank'
    """
    if kind not in SIZES:
        raise InputError(f"kind={kind!r} is unknown", "use 'density', 'venn' or 'summary'")
    names = [key] if isinstance(key, str) else list(key)
    records = {name: _record(adata, name) for name in names}
    width, height = SIZES[kind]
    if isinstance(key, str):
        ax = axes(ax, width, height)
        _draw(ax, adata, kind, key, records[key])
        return ax
    if ax is not None:
        raise InputError("ax is one, but several reconstructions are to be drawn", "leave out ax")
    figure = plt.figure(figsize=(width * len(names), height), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False, sharey=kind == "density")[0]
    drawn: dict[str, Axes] = dict(zip(names, panels, strict=True))
    for name, panel in drawn.items():
        _draw(panel, adata, kind, name, records[name])
    return drawn


def _record(adata: AnnData, key: str) -> Mapping[str, Any]:
    found = provenance(adata, reconstruction_keys(key).record)
    if not found:
        said = "" if key == RECONSTRUCTION else f", key_added={key!r}"
        raise InputError(
            f"adata has no reconstruction {key!r}", f"make it first: gm.tl.reconstruct(adata{said})"
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
    ax.set(xlabel="true rank", ylabel="rebuilt rank", xlim=(0, most), ylim=(0, most))
    spearman = record["table"]["spearman"]
    said = f"Spearman {spearman['model']:.2f}\nmean ranking {spearman['mean ranking']:.2f}"
    ax.text(0.97, 0.03, said, transform=ax.transAxes, ha="right", va="bottom", fontsize=9,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none"})  # fmt: skip
    ax.legend(loc="upper left", fontsize=8, framealpha=0.8)


def _venn(ax: Axes, overlap: Mapping[str, float]) -> None:
    """Draw two circles whose areas and overlap are the mean numbers of genes of a cell."""
    asked, said = overlap["asked"] + overlap["both"], overlap["said"] + overlap["both"]
    first, second = np.sqrt(asked / np.pi), np.sqrt(max(said, 1e-9) / np.pi)
    apart = _distance(first, second, overlap["both"])
    for x, radius, color, name in (
        (0.0, first, COLORS[0], "asked for"),
        (apart, second, COLORS[1], "said"),
    ):
        ax.add_patch(Circle((x, 0), radius, color=color, alpha=0.45, lw=0))
        side = -1 if x == 0 and apart > 0 else 1
        ax.text(x + side * radius * 0.6, radius * 1.08, name, ha="center", va="bottom")
    middle = ((apart - second) + first) / 2
    for x, n in (
        ((-first + min(first, apart - second)) / 2, overlap["asked"]),
        (middle, overlap["both"]),
        ((max(first, apart - second) + apart + second) / 2, overlap["said"]),
    ):
        if n >= 0.5:
            ax.text(x, 0, f"{n:.0f}", ha="center", va="center", fontsize=11)
    top = max(first, second)
    ax.set(xlim=(-first * 1.1, max(first, apart + second) * 1.1), ylim=(-top * 1.1, top * 1.35))
    ax.set(aspect="equal", xlabel="genes of a cell, mean")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def _distance(a: float, b: float, area: float) -> float:
    """Find how far apart two circles have to be to share this area, by halving."""
    low, high = abs(a - b), a + b
    for _ in range(50):
        d = (low + high) / 2
        low, high = (d, high) if _shared_area(a, b, d) > area else (low, d)
    return low


def _shared_area(a: float, b: float, d: float) -> float:
    if d <= abs(a - b):
        return float(np.pi * min(a, b) ** 2)
    if d >= a + b:
        return 0.0
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
        label = f"{name}: {row['levenshtein']:.0f} edits a cell"
        ax.barh(y, np.nan_to_num(values), height=height * 0.9, label=label, **LOOKS[str(name)])
        for at, value in zip(y, values, strict=True):
            text = "–" if np.isnan(value) else f"{value:.2f}"
            ax.text(max(0, np.nan_to_num(value)) + 0.01, at, text, va="center", fontsize=8)
    ax.set_yticks(range(len(scores)), [SCORES[name] for name in scores])
    lowest = min(0.0, float(np.nanmin(table[scores].to_numpy(float))) * 1.1)
    ax.set(xlim=(lowest, 1.12), ylim=(len(scores) - 0.5, -0.5), xlabel="score")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.16), frameon=False, fontsize=8)
