"""Plot what a search of a reference map found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genemamba._docs import documented
from genemamba._settings import check_whole
from genemamba.errors import InputError
from genemamba.maps.found import CellSearch
from genemamba.pl._style import COLORS, axes, heading, legend_below, rows, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@documented
def search(
    result: CellSearch,
    *,
    column: str | None = None,
    query: str | None = None,
    n: int = 10,
    ax: Axes | None = None,
) -> Axes:
    """Plot what the cells found are: the share of each value, next to its share of the map.

    Parameters
    ----------
    result
        What :func:`genemamba.tl.search` returned.
    column
        Column of the map; by default its first.
    query
        The query to show, such as a cluster; needed if there are several.
    n
        Number of values to show, the most frequent first.
    {plotted}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> found = gm.tl.search(adata, layer="raw", groupby="louvain")
    >>> ax = gm.pl.search(found, query="8")
    """
    check_whole("n", n)
    if not isinstance(result, CellSearch):
        raise InputError(f"result is a {type(result).__name__}", "give that of gm.tl.search")
    table = result.enrichment
    column = _chosen("column", column, table["column"].unique().tolist(), first=True)
    table = table[table["column"] == column]
    query = _chosen("query", query, table["query"].unique().tolist())
    table = table[table["query"] == query].nlargest(n, "share")
    ax = axes(ax, 6.2, 1.9 + 0.36 * len(table))
    place = np.arange(len(table))
    ax.barh(place - 0.18, table["share"], 0.36, color=COLORS[0], label="of the cells found")
    ax.barh(place + 0.18, table["background"], 0.36, color=COLORS[3], label="of the whole map")
    for y, share, found, fold in zip(
        place, table["share"], table["found"], table["fold"], strict=True
    ):
        ax.text(share, y - 0.18, f" {found:,} cells, {fold:.3g}× the map", va="center", fontsize=8)
    rows(ax, [short(str(value)) for value in table["value"]])
    ax.set_xlim(0, 1.5 * float(table[["share", "background"]].to_numpy().max()))
    ax.set_xticks([tick for tick in ax.get_xticks() if tick <= 1])
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.set_xlabel("share of cells")
    legend_below(ax, ncols=2)
    n = int((result.cells["query"] == query).sum())
    heading(
        ax, f"query {query}: {column} of the {n:,} most similar cells of {result.map_name}",
        "longer than grey: more frequent than on the whole map",
    )  # fmt: skip
    return ax


def _chosen(argument: str, value: str | None, known: list[str], *, first: bool = False) -> str:
    """Return the value, if it is known; without one, the first or the only one."""
    if not known:
        raise InputError("the map keeps no column of words", "build it with keep=[…]")
    names = ", ".join(_quoted(known))
    if value is None and (first or len(known) == 1):
        return known[0]
    if value is None:
        raise InputError(f"the result has {len(known)} queries", f"give {argument}= one of {names}")
    if value not in known:
        raise InputError(f"{argument}={value!r} is not in the result", f"use one of {names}")
    return value


def _quoted(known: list[str]) -> list[str]:
    """Return up to eight names as in code."""
    return [repr(name) for name in known[:8]] + (["…"] if len(known) > 8 else [])
