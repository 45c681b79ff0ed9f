"""What is common among the cells that a search found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from genemamba._shown import Shown
from genemamba.genes.enrichment import fdr
from genemamba.maps.columns import Columns

_FEW = 5  # queries and values that a summary names


@dataclass(frozen=True, eq=False, repr=False)
class CellSearch(Shown):
    """The cells of a map that are most like the queries, and what is frequent among them."""

    cells: pd.DataFrame
    """A row per query and cell found, nearest first: ``query``, ``rank`` (from 1), ``cell``,
    ``distance``, and the map's columns."""
    enrichment: pd.DataFrame
    """A row per query, column and value: ``query``, ``column``, ``value``, ``found`` (cells),
    ``share`` of the cells found, ``background``, its share of the map, ``fold`` (their ratio),
    ``p_value`` (hypergeometric) and ``fdr`` (Benjamini–Hochberg); the smallest p-value first."""
    map_name: str
    n_cells: int
    """Cells of the map that could be found."""

    def lines(self) -> list[tuple[str, str]]:
        """Return the lines of the summary: what was found, and what is most frequent there."""
        n = self.cells["query"].nunique()
        lines = [(
            "CellSearch",
            f"{len(self.cells):,} cells found for {n:,} quer{'y' if n == 1 else 'ies'} "
            f"among {self.n_cells:,} of {self.map_name}",
        )]  # fmt: skip
        first = self.enrichment.drop_duplicates(["query", "column"]).groupby("query", sort=False)
        for query, rows in list(first)[:_FEW]:
            told = [f"{r.value} ({r.share:.0%}, {r.fold:.1f} ×)" for r in rows.itertuples()]
            lines.append((str(query), ", ".join(told[:_FEW])))
        return [*lines, ("see", ".cells and .enrichment; gm.pl.search")]


def enrichment(
    columns: Columns, found: dict[str, np.ndarray], among: np.ndarray | None, n_cells: int
) -> pd.DataFrame:
    """Compare the cells found for each query with all cells that could be found.

    Parameters
    ----------
    found
        Of each query, the positions of its cells; one that was found repeatedly counts once.
    among
        Positions of the cells that could be found; None for all `n_cells`.
    """
    size = n_cells if among is None else len(among)
    parts = []
    for name in columns.names:
        if columns.is_number(name):
            continue
        values = np.array(columns.values(name), dtype=object)
        codes = columns.codes(name, slice(None) if among is None else among)
        total = np.bincount(codes[codes >= 0], minlength=len(values))
        for query, cells in found.items():
            cells = np.unique(cells)
            own = columns.codes(name, cells)
            there = np.bincount(own[own >= 0], minlength=len(values))
            code = np.flatnonzero(there)
            p = hypergeom.sf(there[code] - 1, size, total[code], len(cells))
            parts.append(
                pd.DataFrame({
                    "query": query,
                    "column": name,
                    "value": values[code],
                    "found": there[code],
                    "share": there[code] / len(cells),
                    "background": total[code] / size,
                    "fold": there[code] / len(cells) / (total[code] / size),
                    "p_value": np.clip(p, 0, 1),
                })
            )  # fmt: skip
    if not parts:
        names = ("query", "column", "value", "found", "share", "background", "fold", "p_value")
        return pd.DataFrame(columns=[*names, "fdr"])
    table = pd.concat(parts, ignore_index=True)
    table["fdr"] = fdr(table["p_value"].to_numpy())
    order = {query: i for i, query in enumerate(found)}  # as given
    keys = (
        -table["fold"],
        table["p_value"],
        table["column"].map(columns.names.index),
        table["query"].map(order),
    )
    return table.iloc[np.lexsort(keys)].reset_index(drop=True)
