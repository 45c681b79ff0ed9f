"""The report of ``gm.pp.check``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from genemamba._progress import duration
from genemamba._shown import Shown
from genemamba.cells.read import lost

if TYPE_CHECKING:
    from genemamba.tokens import Seen, Values

FEW_GENES = 1_000
"""With fewer known genes the bundled classifier is often wrong: on 300, with one term in five."""


@dataclass(frozen=True, eq=False, repr=False)
class Report(Shown):
    """Whether cells can be embedded, and how much of them is used.

    Attributes
    ----------
    ok
        Whether the cells can be used as they are.
    n_cells, n_genes
        Shape of the AnnData.
    where
        The matrix that was checked, such as ``adata.X``.
    values
        What it contains: ``kind``, ``base`` of the logarithm, and the ``reason``.
    sources
        What each usable matrix contains, by the `layer` that reads it.
    problem, fix
        If not `ok`: what is wrong, and the call that fixes it.
    genes
        For each gene ``status``, the model's ``ensembl_id`` and ``symbol``, ``share_of_counts``.
    cells
        For each cell checked, the fractions of its genes and counts that the model does not know
        (``genes_lost``, ``counts_lost``), and its number of ``tokens``.
    gene_status
        Number of genes with each status.
    added
        Which columns name the same gene, if any: their counts are added.
    organism
        The ``name`` of the organism whose genes these are; for another than human the ``table`` of
        orthologues, the ``genes_without_orthologue`` and, on average over cells, the share of
        ``counts_without_orthologue``. For mouse ``genes_one_to_many`` and ``counts_one_to_many``,
        too: genes with several human orthologues, or that share one. Both kinds are left out. For
        macaque and pig the former include the latter.
    seen
        How many cells could be looked up among the model's training cells, and how many were
        found; None if this cannot be checked, for the reason in ``unseen``.
    seconds
        Estimated time to embed the cells on this machine.
    """

    ok: bool
    n_cells: int
    n_genes: int
    sources: dict[str, str]
    where: str = ""
    values: Values | None = None
    problem: str = ""
    fix: str = ""
    genes: pd.DataFrame = field(default_factory=pd.DataFrame)
    cells: pd.DataFrame = field(default_factory=pd.DataFrame)
    gene_status: dict[str, int] = field(default_factory=dict)
    added: str = ""
    organism: dict[str, Any] = field(default_factory=dict)
    seen: Seen | None = None
    unseen: str = ""
    seconds: float = 0.0

    @property
    def n_known(self) -> int:
        """Number of genes that the model knows."""
        return self.genes.loc[self.genes["ensembl_id"] != "", "ensembl_id"].nunique()

    @property
    def notes(self) -> list[str]:
        """What to know before embedding these cells."""
        if not self.ok:
            return []
        assert self.values is not None
        notes = []
        counts = [source for source, kind in self.sources.items() if kind == "counts"]
        if self.values.kind != "counts" and counts:
            notes.append(f"counts are available: {_call(counts[0])}")
        if self.values.kind == "log1p":
            notes.append("the log will be undone before ranking")
        if self.values.doubt:
            notes.append(self.values.doubt)
        if self.n_known < FEW_GENES:
            notes.append(
                f"only {self.n_known:,} genes are known: without a reference, gm.tl.annotate is "
                "often wrong then"
            )
        notes += filter(None, (lost(float(self.cells["counts_lost"].mean())), self.added))
        if n := self.gene_status["other"]:
            notes.append(f"{n:,} columns are not genes (adata.var['feature_types'])")
        if self.seen and self.seen.found:
            notes.append("the model was trained on some of these cells: scores are too optimistic")
        without = int((self.cells["tokens"] == 0).sum())
        if without:
            notes.append(f"{without:,} cells express no gene of the model: they will be NaN")
        return notes

    def rows(self) -> dict[str, str]:
        """Return the lines of the report."""
        rows = {"cells × genes": f"{self.n_cells:,} × {self.n_genes:,}"}
        if not self.ok:
            return {**rows, "cannot be used": self.problem, "fix": self.fix}
        assert self.values is not None
        n = len(self.cells)
        some = "" if n == self.n_cells else f" (in a sample of {n:,} cells)"
        rows[self.where] = f"{self.values.kind}: {self.values.reason}"
        rows["genes"] = ", ".join(f"{n:,} {s}" for s, n in self.gene_status.items() if n)
        rows["organism"] = self._organism()
        rows["unused (unknown genes)"] = (
            f"{self.cells['genes_lost'].mean():.1%} of genes, "
            f"{self.cells['counts_lost'].mean():.1%} of counts per cell{some}"
        )
        rows["tokens per cell"] = f"{self.cells['tokens'].mean():,.0f}"
        rows["training cells"] = self._looked_up()
        rows["embedding takes"] = (
            "less than half a minute"
            if self.seconds < 30
            else f"about {duration(self.seconds)} on this machine"
        )
        return rows | {f"note {i}": text for i, text in enumerate(self.notes, 1)}

    def _organism(self) -> str:
        own, name = self.organism, str(self.organism["name"])
        if not own["table"]:
            return name
        genes, counts = own["genes_without_orthologue"], own["counts_without_orthologue"]
        many, in_many = own.get("genes_one_to_many", 0), own.get("counts_one_to_many", 0.0)
        told = (
            f"{name}: {genes + many:,} genes have no human gene as their one-to-one orthologue "
            f"({counts + in_many:.1%} of counts) and are left out"
        )
        if "genes_one_to_many" not in own:
            return told
        return (
            f"{told}: {genes:,} without a known orthologue ({counts:.1%}), {many:,} with several "
            f"or a shared one ({in_many:.1%})"
        )

    def _looked_up(self) -> str:
        if self.seen is None:
            return f"cannot check: {self.unseen}"
        n, found = self.seen
        return f"{found or 'none'} of {n:,} cells that could be looked up were used for training"

    def lines(self) -> list[tuple[str, str]]:
        """Return the lines of the report, as pairs."""
        return list(self.rows().items())


def _call(layer: str) -> str:
    return "leave out layer" if layer == "X" else f"use layer={layer!r}"
