"""From the classifier of a checkpoint to labels in the terms of the Cell Ontology."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from genemamba.heads import TermHead
from genemamba.ontology import Ontology
from genemamba.tl._annotation import Annotation
from genemamba.tl._embedding import Embedding
from genemamba.tl._terms import Level, allowed_terms, guessed_tissues, labels_of_tissue

_BLOCK = 20_000
"""Cells of which all terms are in memory at once."""


@dataclass(frozen=True, eq=False)
class _Naming:
    """How cells are named by terms."""

    head: TermHead
    among: np.ndarray
    """``(n_terms,)`` bool, which terms can be given."""
    sure: float
    """From which confidence."""
    unknown: bool
    """Whether a cell can be without a name."""

    def __call__(self, confidence: np.ndarray, shares: np.ndarray | None = None) -> np.ndarray:
        """Return the term of each row, or -1."""
        best = self.head.named(confidence, self.among, self.sure, shares)
        if self.unknown or self.sure == 0:
            return best
        return np.where(best < 0, self.head.named(confidence, self.among, 0, shares), best)


def by_terms(
    head: TermHead, cells: Embedding, level: Level, tissue: str | None, *, unknown: bool
) -> tuple[Annotation, dict[str, Any]]:
    """Name cells by terms of the Cell Ontology; return what the record keeps, too."""
    labels = labels_of_tissue(head, tissue)
    name = _Naming(head, *allowed_terms(head, level, tissue, labels), unknown)
    X, panel = cells.vectors, head.panel(cells.genes.tokens)
    table, best, confidence, mean = _in_blocks(head, X, labels, name, panel=panel)
    distance = head.reference.mean_distance(X)
    ontology, parts = Ontology.load(), head.holds.astype(np.float32)
    annotation = Annotation(
        np.full(len(X), "", dtype=object),
        tuple(ontology.name(term) for term in head.terms),
        table,
        best,
        confidence,
        distance,
        np.isnan(distance) if panel else ~(distance <= head.farthest),  # a panel lies elsewhere
        name,
        parts @ parts.T == parts.sum(axis=1)[:, None],
        ids=head.terms,
    )
    about = {"method": "terms", "panel": panel, "farthest": head.farthest, **head.info}
    about |= {"counts_lost": {"unknown_genes": cells.measured.unknown}} if cells.measured else {}
    return annotation, about | ({} if tissue else guessed_tissues(head, mean))


def _in_blocks(
    head: TermHead, X: np.ndarray, labels: np.ndarray | None, name: _Naming, *, panel: bool
) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray, np.ndarray]:
    """Return confidence in all terms, the term of each cell, confidence in it, and mean shares.

    Most terms have no evidence in a cell, so that a sparse table is a tenth of a dense one.
    """
    tables: list[sparse.csr_matrix] = []
    best: list[np.ndarray] = []
    own: list[np.ndarray] = []
    total, n = np.zeros(len(head.terms)), 0
    for start in range(0, len(X), _BLOCK):
        shares = head.shares(X[start : start + _BLOCK], labels)
        confidence = head.confidence(shares, panel=panel)
        found = name(confidence, shares)
        of_found = np.take_along_axis(confidence, np.maximum(found, 0)[:, None], axis=1)[:, 0]
        best.append(found)
        own.append(np.where(found >= 0, of_found, confidence.max(axis=1)).astype(np.float32))
        tables.append(sparse.csr_matrix(np.nan_to_num(confidence, nan=0)))
        there = np.isfinite(own[-1])
        total, n = total + shares[there].sum(axis=0, dtype=np.float64), n + int(there.sum())
    mean = total / n if n else np.full(len(total), np.nan)
    return sparse.vstack(tables, format="csr"), np.concatenate(best), np.concatenate(own), mean
