"""Draw the figures of the documentation into ``docs/_static``: ``python docs/figures.py``.

The diagrams are SVG without background, in colours that read on white and on black.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import scanpy as sc
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import genemamba as gm

HERE = Path(__file__).parent
OUT = HERE / "_static"
INK, BLUE, ORANGE = "#7f8c99", "#3b82c4", "#d97b29"
GENES = ["RPL13", "MALAT1", "CD3D", "CD3E", "IL7R", "ACTB"]
COUNTS = np.array([40, 90, 6, 4, 3, 12])
plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "genemamba", "font.size": 11,
                 "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK,
                 "xtick.color": INK, "ytick.color": INK}  # fmt: skip


def landing() -> None:
    """UMAP of scanpy's cells, with labels and with clusters."""
    adata = sc.datasets.pbmc68k_reduced()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gm.tl.embed(adata, layer="raw")
        sc.pp.neighbors(adata, use_rep="X_genemamba")
        sc.tl.umap(adata)
        sc.tl.leiden(adata, flavor="igraph", n_iterations=2, directed=False)
    with plt.rc_context({"text.color": "black"}):
        figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
        titles = {"bulk_labels": "labels of the data set", "leiden": "clusters of the embedding"}
        for ax, (key, title) in zip(axes, titles.items(), strict=True):
            sc.pl.umap(adata, color=key, ax=ax, show=False, title=title, frameon=False, size=45,
                       palette="tab10", legend_fontsize=9)  # fmt: skip
        figure.savefig(OUT / "landing.png", dpi=110)
    plt.close(figure)


def rank() -> None:
    """From counts to ranked genes, with the medians of genemamba-mini."""
    vocab = gm.models.vocabulary("genemamba-mini")
    medians = vocab.median[[vocab.name_to_gene[gene] for gene in GENES]]
    scaled = COUNTS / 3_000 * 1e4 / medians
    order = np.argsort(-scaled)
    figure, axes = plt.subplots(1, 3, figsize=(10, 2.9), layout="constrained")
    for ax, values, title, names in (
        (axes[0], COUNTS, "counts of a cell", GENES),
        (axes[1], scaled, "÷ total ÷ median of the gene", GENES),
        (axes[2], scaled[order], "sorted: ranked genes", [GENES[i] for i in order]),
    ):
        colours = [ORANGE if name in ("CD3D", "CD3E", "IL7R") else BLUE for name in names]
        ax.barh(range(len(names)), values, color=colours)
        ax.set(title=title, xticks=[])
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.tick_params(length=0)
        ax.spines[["top", "right", "bottom"]].set_visible(False)
    _save(figure, "rank")


def bimamba() -> None:
    """One layer."""
    figure, ax = plt.subplots(figsize=(10, 3.4), layout="constrained")
    ax.set(xlim=(0, 10), ylim=(0, 3.4))
    ax.axis("off")
    for y, names in ((2.35, "ABCD"), (0.65, "DCBA")):
        for i, name in enumerate(names):
            _box(ax, 2.0 + 0.55 * i, y, 0.45, 0.5, name, BLUE)
            if i:
                _arrow(ax, (1.9 + 0.55 * i, y - 0.42), (2.3 + 0.55 * i, y - 0.42))
        _box(ax, 5.3, y, 1.2, 0.6, "Mamba-2", ORANGE)
        _arrow(ax, (3.95, y), (4.65, y))
    ax.text(2.83, 2.85, "forwards", ha="center")
    ax.text(2.83, 1.1, "backwards", ha="center")
    ax.text(5.3, 1.5, "the same weights", ha="center", va="center")
    _box(ax, 0.7, 1.5, 0.9, 0.6, "genes", BLUE)
    _box(ax, 7.5, 1.5, 1.1, 0.6, "merge", ORANGE)
    _box(ax, 9.2, 1.5, 1.1, 0.6, "next layer", BLUE)
    for start, end in (((1.2, 1.6), (1.75, 2.25)), ((1.2, 1.4), (1.75, 0.75)),
                       ((5.95, 2.3), (7.0, 1.65)), ((5.95, 0.7), (7.0, 1.35)),
                       ((8.1, 1.5), (8.6, 1.5))):  # fmt: skip
        _arrow(ax, start, end)
    ax.text(6.6, 2.35, "+ input", ha="left")
    ax.text(6.6, 0.55, "+ input, turned back", ha="left")
    _save(figure, "bimamba")


def linear() -> None:
    """Time against length, from the kept results."""
    lines = (HERE / "benchmarks" / "inference.jsonl").read_text().splitlines()
    results = [json.loads(line)["result"] for line in lines]
    length = [r["length"] for r in results if r["device"] == "cpu" and "length" in r][-1]
    tokens, seconds = (np.array([row[key] for row in length]) for key in ("tokens", "seconds"))
    figure, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
    ax.plot(tokens, seconds, "o-", color=ORANGE, label="genemamba-mini, measured")
    at = tokens == 2_048
    ax.plot(tokens, seconds[at] * tokens / tokens[at], ":", color=INK, label="linear")
    ax.plot(tokens, seconds[at] * (tokens / tokens[at]) ** 2, "--", color=BLUE, label="quadratic")
    ax.set(xscale="log", yscale="log", xlabel="tokens of a row", ylabel="seconds", ylim=(2e-3, 20))
    ax.set_xticks(tokens, [f"{n:,}" for n in tokens], rotation=30)
    ax.minorticks_off()
    ax.legend(frameon=False, labelcolor=INK)
    ax.spines[["top", "right"]].set_visible(False)
    _save(figure, "linear")


def _box(ax: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
    corner = (x - width / 2, y - height / 2)
    box = FancyBboxPatch(corner, width, height, boxstyle="round,pad=0.03", fc=colour, ec="none")
    ax.add_patch(box)
    ax.text(x, y, text, ha="center", va="center", color="white")


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=INK))


def _save(figure: plt.Figure, name: str) -> None:
    figure.savefig(OUT / f"{name}.svg", transparent=True, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    for draw in (landing, rank, bimamba, linear):
        draw()
