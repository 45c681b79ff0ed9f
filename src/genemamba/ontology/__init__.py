"""The Cell Ontology: cell types and their hierarchy. No torch, no AnnData."""

from __future__ import annotations

from .ontology import Ontology, Term, spelling

__all__ = ["Ontology", "Term", "spelling"]
