"""Results of the tools about genes."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, eq=False)
class GenePairs:
    """Similarities of related and unrelated genes, and how well they separate them."""

    table: pd.DataFrame
    """A row per embedding and measure."""
    scores: pd.DataFrame
    """A row per pair used: ``gene_a``, ``gene_b``, ``label``, and a column per row of `table`."""
    lost: dict[str, int]
    """Numbers of pairs that were not used, by reason."""


@dataclass(frozen=True, eq=False)
class GeneNetwork:
    """Networks of similar genes, one per embedding, on the same genes."""

    edges: pd.DataFrame
    """A row per edge of any network: ``gene_a``, ``gene_b``, whether each embedding has it, and
    whether all do (``shared``)."""
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
