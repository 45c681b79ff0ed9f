"""Plot networks of genes, and what models share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from scipy.spatial.distance import pdist

from genemamba._docs import documented
from genemamba.errors import InputError
from genemamba.genes.results import GeneNetwork
from genemamba.pl._style import COLORS, GREY, axes, faded, heading, ink, legend_below

_OWN = (0, 1, 2, 4, 5, 9)  # of COLORS: not the greys
_LINES = ("-", "--", "-.", ":")


@documented
def gene_network(network: GeneNetwork, *, n_edges: int = 30, ax: Axes | None = None) -> Axes:
    """Plot the nearest genes: edges that all models share, and edges of single models.

    A network of more than some hundred edges cannot be read, so only the shortest of each kind
    (shared by all, by some, of one alone) are drawn. Distances are relative to each embedding's
    mean. The title counts the genes and edges drawn, the legend those of each kind. The length of a
    line has no meaning.

    Parameters
    ----------
    network
        What :func:`genemamba.tl.gene_network` returned.
    n_edges
        Edges drawn of each kind.
    {plotted}

    Examples
    --------
    >>> import genemamba as gm
    >>> genes = ["CD3D", "CD3E", "MS4A1", "CD79A", "LYZ", "S100A8"]
    >>> network = gm.tl.gene_network(gm.tl.gene_embedding(), genes=genes, threshold=0.2)
    >>> len(gm.pl.gene_network(network).texts)
    6
    """
    if not isinstance(network, GeneNetwork):
        raise InputError(
            f"network is not a GeneNetwork but {type(network).__name__}",
            "gm.pl.gene_network(gm.tl.gene_network(adata))",
        )
    if network.edges.empty:
        raise InputError("the network has no edge", "make it with a larger threshold")
    kinds = _kinds(network)
    edges = network.edges.assign(length=_lengths(network), kind=kinds)
    drawn = edges.sort_values("length", kind="stable").groupby("kind", sort=False).head(n_edges)
    genes = np.unique(drawn[["gene_a", "gene_b"]])
    place = dict(zip(genes, _layout(drawn, genes), strict=True))
    ax = axes(ax, 8.5, 6.5)
    for kind, style in _styles(network).items():
        lines = drawn[drawn["kind"] == kind]
        for a, b in zip(lines["gene_a"], lines["gene_b"], strict=True):
            ax.plot(*zip(place[a], place[b], strict=True), **style, zorder=1)
        if total := int((kinds == kind).sum()):
            of = f"{total:,}" if len(lines) == total else f"{len(lines):,} shortest of {total:,}"
            ax.plot([], [], **style, label=f"{_named(kind, network)}: {of}")
    x, y = np.array(list(place.values())).T
    ax.scatter(x, y, s=14, color=ink(), zorder=2)
    halo = [withStroke(linewidth=2.5, foreground=faded(ax, 0))]
    text: dict[str, Any] = {"ha": "center", "fontsize": 7.5, "path_effects": halo}
    for gene, xy in place.items():
        ax.annotate(gene, xy, (0, 4), textcoords="offset points", **text)
    legend_below(ax, ncols=2, title="edges (their length has no meaning)")
    ax.set_axis_off()
    ax.margins(0.06)
    heading(ax, *_title(network, len(genes), len(drawn)))
    return ax


def _title(network: GeneNetwork, n_genes: int, n_edges: int) -> list[str]:
    """Count what is drawn; of two networks, say how alike they are."""
    lines = [
        f"Genes with similar vectors: {n_edges:,} of {len(network.edges):,} edges, "
        f"between {n_genes:,} of {len(network.genes):,} genes",
    ]
    if len(network.overlap) == 1:
        row = network.overlap.iloc[0]
        shared = f"both networks share {row['jaccard']:.0%} of their edges (Jaccard index)"
        lines.append(f"{shared}; by chance {row['by_chance']:.0%}")
    return lines


def _named(kind: str, network: GeneNetwork) -> str:
    """Name a kind of edges in the legend."""
    if kind not in network.distances:
        return f"in {'both' if len(network.distances) == 2 else kind.removeprefix('shared by ')}"
    return f"in {kind}" if len(network.distances) == 1 else f"only in {kind}"


def _kinds(network: GeneNetwork) -> pd.Series:
    """Return the kind of each edge: one embedding, "shared by all", or "shared by some"."""
    has = network.edges[list(network.distances)]
    first = has.idxmax(axis=1)
    if has.shape[1] == 1:
        return first
    kinds = first.where(has.sum(axis=1) == 1, "shared by some")
    return kinds.where(~network.edges["shared"], "shared by all")


def _styles(network: GeneNetwork) -> dict[str, dict[str, Any]]:
    styles: dict[str, dict[str, Any]] = {
        name: {"color": COLORS[_OWN[i % 6]], "lw": 1.3, "ls": _LINES[i % 4]}
        for i, name in enumerate(network.distances)
    }
    styles["shared by some"] = {"color": GREY, "lw": 1.3}
    styles["shared by all"] = {"color": ink(), "lw": 2.2}
    return styles


def _lengths(network: GeneNetwork) -> np.ndarray:
    """Return each edge's mean length in the embeddings that have it, relative to their means."""
    a, b = (network.genes.get_indexer(network.edges[end]) for end in ("gene_a", "gene_b"))
    has = network.edges[list(network.distances)].to_numpy()
    tables = [table.to_numpy() for table in network.distances.values()]
    lengths = np.stack([d[a, b] / d.mean() for d in tables], axis=1)
    return (lengths * has).sum(axis=1) / has.sum(axis=1)


def _layout(edges: pd.DataFrame, genes: np.ndarray) -> np.ndarray:
    """Place connected genes near each other, the same edges always at the same places."""
    import igraph

    ends = np.searchsorted(genes, edges[["gene_a", "gene_b"]].to_numpy())
    graph = igraph.Graph(n=len(genes), edges=ends.tolist())
    parts = sorted(map(np.asarray, graph.connected_components()), key=len, reverse=True)
    drawn = [graph.induced_subgraph(part.tolist()).layout_kamada_kawai() for part in parts]
    out = np.zeros((len(genes), 2))
    for part, xy in zip(parts, _pack([_spread(np.array(xy.coords)) for xy in drawn]), strict=True):
        out[part] = xy
    return out


def _spread(xy: np.ndarray) -> np.ndarray:
    """Draw apart genes that lie too close for their names."""
    apart = pdist(xy)
    nearest = apart.min() if len(apart) else 1.0
    return xy * np.clip(0.7 / max(nearest, 1e-9), 1, 3.5)


def _pack(parts: list[np.ndarray]) -> list[np.ndarray]:
    """Lay connected parts out in rows, in the order given."""
    sizes = [np.ptp(xy, axis=0) + 1.2 for xy in parts]
    wide = 1.4 * np.sqrt(sum(w * h for w, h in sizes))
    x = y = height = 0.0
    packed = []
    for xy, (w, h) in zip(parts, sizes, strict=True):
        if x and x + w > wide:
            x, y, height = 0.0, y - height, 0.0
        packed.append(xy - [xy[:, 0].min(), xy[:, 1].max()] + [x, y])
        x, height = x + w, max(height, h)
    return packed
