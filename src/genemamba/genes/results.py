"""What the tools about genes return."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, eq=False)
class GenePairs:
    """Similarities of related and unrelated genes, and how well they tell them apart."""

    table: pd.DataFrame
    """A row per embedding and measure."""
    scores: pd.DataFrame
    """A row per pair used: ``gene_a``, ``gene_b``, ``label``, and a column per row of `table`."""
    lost: dict[str, int]
    """Pairs that were given and not used, by reason."""


@dataclass(frozen=True, eq=False)
class GeneNetwork:
    """Networks of near genes, one per embedding, on the same genes."""

    edges: pd.DataFrame
    """A row per pair connected in any network: ``gene_a``, ``gene_b``, for each embedding whether
    it has the edge (bool), and ``shared`` by all."""
    distances: dict[str, pd.DataFrame]
    """Per embedding, genes × genes, Euclidean."""
    threshold: dict[str, float]
    """Per embedding, the distance below which genes are connected."""
    overlap: pd.DataFrame
    """A row per two embeddings: ``jaccard``, ``by_chance``, ``p_value``, ``fdr``."""

    @property
    def genes(self) -> pd.Index:
        """The genes, connected or not."""
        return next(iter(self.distances.values())).index
