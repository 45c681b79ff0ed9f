"""The Cell Ontology: types of cells and what they are kinds of. No torch, no AnnData."""

from __future__ import annotations

from .ontology import Ontology, Term

__all__ = ["Ontology", "Term"]
