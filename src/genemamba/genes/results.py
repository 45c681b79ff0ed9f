"""Results of the tools about genes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from genemamba._shown import Shown

_FEW = 5  # edges that a summary names


@dataclass(frozen=True, eq=False, repr=False)
class GenePairs(Shown):
    """Similarities of related and unrelated genes, and how well they separate them."""

    table: pd.DataFrame
    """A row per embedding and measure."""
    scores: pd.DataFrame
    """A row per pair used: ``gene_a``, ``gene_b``, ``label``, and a column per row of `table`."""
    lost: dict[str, int]
    """Numbers of pairs that were not used, by reason."""

    def lines(self) -> list[tuple[str, str]]:
        """Return the lines of the summary: how well each row tells related from unrelated pairs."""
        positive, negative = self.table[["positive", "negative"]].iloc[0]
        lost = ", ".join(f"{n:,} {reason}" for reason, n in self.lost.items() if n)
        used = f"{positive:,} related and {negative:,} unrelated pairs"
        lines = [("GenePairs", used + (f"; not used: {lost}" if lost else ""))]
        for (name, measure), row in self.table.iterrows():
            kind = "control, " if row["kind"] == "control" else ""
            text = f"{kind}{measure}: AUROC {row['auroc']:.2f} ({row['auroc_low']:.2f}–"
            text += f"{row['auroc_high']:.2f})"
            if np.isfinite(row["auroc_matched"]):
                text += f", {row['auroc_matched']:.2f} with the same genes"
            lines.append((str(name), text))
        return [*lines, ("see", ".table, .scores and .lost; gm.pl.gene_pairs")]


@dataclass(frozen=True, eq=False, repr=False)
class GeneNetwork(Shown):
    """Networks of similar genes, one per embedding, on the same genes."""

    edges: pd.DataFrame
    """A row per edge of any network: ``gene_a``, ``gene_b``, whether each embedding has it, and
    whether all do (``shared``)."""
    distances: dict[str, pd.DataFrame]
    """Per embedding, genes × genes, Euclidean."""
    threshold: dict[str, float]
    """Per embedding, the largest distance at which genes are connected."""
    overlap: pd.DataFrame
    """A row per two embeddings: ``jaccard``, ``by_chance``, ``p_value``, ``fdr``."""

    @property
    def genes(self) -> pd.Index:
        """The genes, connected or not."""
        return next(iter(self.distances.values())).index

    def lines(self) -> list[tuple[str, str]]:
        """Return the lines of the summary: the size of each network, its closest genes, overlap."""
        lines = [("GeneNetwork", f"{len(self.genes):,} genes")]
        for name, table in self.distances.items():
            own = self.edges[self.edges[name]]
            a, b = (table.index.get_indexer(own[end]) for end in ("gene_a", "gene_b"))
            first = own.iloc[np.argsort(table.to_numpy()[a, b], kind="stable")[:_FEW]]
            pairs = [f"{x}–{y}" for x, y in zip(first["gene_a"], first["gene_b"], strict=True)]
            closest = f", closest {', '.join(pairs)}" if pairs else ""
            lines.append((name, f"{len(own):,} edge{'s' * (len(own) != 1)}{closest}"))
        for (one, other), row in self.overlap.iterrows():
            text = f"Jaccard index {row['jaccard']:.2f} (by chance {row['by_chance']:.2f}, FDR "
            lines.append((f"{one}, {other}", f"{text}{row['fdr']:.2g})"))
        return [*lines, ("see", ".edges, .distances and .overlap; gm.pl.gene_network")]
