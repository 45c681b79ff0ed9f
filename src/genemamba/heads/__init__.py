"""The array core of annotation: from embeddings and class codes to calibrated labels."""

from genemamba.heads.choose import HeldOut
from genemamba.heads.components import Components
from genemamba.heads.folds import held_out_folds
from genemamba.heads.head import LabelHead, fit_head
from genemamba.heads.knn import Reference
from genemamba.heads.probe import Probe
from genemamba.heads.store import is_head, read_head, write_head
from genemamba.heads.terms import TermHead, fit_terms
from genemamba.heads.terms_store import has_terms, read_terms, write_terms

__all__ = [
    "Components",
    "HeldOut",
    "LabelHead",
    "Probe",
    "Reference",
    "TermHead",
    "fit_head",
    "fit_terms",
    "has_terms",
    "held_out_folds",
    "is_head",
    "read_head",
    "read_terms",
    "write_head",
    "write_terms",
]
