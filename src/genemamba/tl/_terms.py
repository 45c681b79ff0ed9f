"""Labels from the classifier of a checkpoint, in the terms of the Cell Ontology."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from genemamba.errors import InputError, shown
from genemamba.heads import TermHead
from genemamba.heads.terms import SURE
from genemamba.ontology import Ontology

Level: TypeAlias = Literal["auto", "fine", "broad"] | int | Sequence[str]
BROAD = (
    "connective tissue cell", "dendritic cell", "embryonic cell (metazoa)", "endothelial cell",
    "epithelial cell", "erythroid lineage cell", "extraembryonic cell", "fibroblast",
    "germ line cell", "glial cell", "granulocyte", "hematopoietic cell",
    "hematopoietic precursor cell", "innate lymphoid cell", "leukocyte", "lymphocyte",
    "lymphocyte of B lineage", "macrophage", "malignant cell", "mast cell", "megakaryocyte",
    "monocyte", "mural cell", "muscle cell", "myeloid leukocyte", "neural cell", "neuron",
    "pluripotent stem cell", "platelet", "T cell", "stromal cell",
)  # fmt: skip
"""Names of the terms of ``level="broad"``."""
_EVERYWHERE = 3  # a type of as many tissues is expected in any


def terms_of_level(head: TermHead, level: Level) -> tuple[np.ndarray, float]:
    """Return which terms can be given, ``(n_terms,)`` bool, and how sure they have to be.

    Raises
    ------
    InputError
        If the level is unknown or beyond the tree, or the classifier was not trained on a term.
    """
    ontology = Ontology.load()
    if isinstance(level, str):
        if level == "auto":
            return np.ones(len(head.terms), dtype=bool), SURE
        if level == "fine":
            return np.isin(head.terms, head.labels), 0.0
        if level == "broad":
            return np.isin([ontology.name(term) for term in head.terms], BROAD), SURE
    elif isinstance(level, int | np.integer) and not isinstance(level, bool):
        depth = np.array([ontology.depth(term) for term in head.terms])
        if not depth.min() <= level <= depth.max():
            raise InputError(
                f"level={level} is beyond the tree of cell types",
                f"give a depth from {depth.min()} (lineages) to {depth.max()} (the finest types)",
            )
        return depth <= level, SURE
    elif isinstance(level, Sequence | np.ndarray) and len(level):
        return np.isin(head.terms, [_known(head, ontology, term) for term in level]), SURE
    raise InputError(
        f"level={shown(level)} is unknown",
        "use 'auto', 'fine', 'broad', a depth such as 5, or a list of cell types",
    )


def _known(head: TermHead, ontology: Ontology, text: Any) -> str:
    """Return the id of a term that the classifier knows."""
    found = ontology.find(str(text))
    if found in head.terms:
        return str(found)
    names = {ontology.name(term): term for term in head.terms}
    if found is None:
        near = difflib.get_close_matches(str(text).lower(), names, n=3, cutoff=0.5)
        what = f"{shown(text)} in level is not a term of the Cell Ontology"
    else:
        above = [ontology.name(t) for t in ontology.ancestors(found) if t in head.terms]
        near = above[:3]
        what = f"the classifier was not trained on {ontology.name(found)!r} ({found})"
    hint = f"did you mean {', '.join(map(repr, near))}?" if near else "use level='auto'"
    raise InputError(what, hint)


def labels_of_tissue(head: TermHead, tissue: str | None) -> np.ndarray | None:
    """Return the labels expected in a tissue, ``(n_labels,)`` bool; None for all.

    They occur in it, in blood, or in several other tissues.

    Raises
    ------
    InputError
        If the classifier does not know the tissue.
    """
    if tissue is None:
        return None
    known = {name.lower(): i for i, name in enumerate(head.tissues)}
    if not isinstance(tissue, str) or tissue.strip().lower() not in known:
        near = difflib.get_close_matches(str(tissue).lower(), known, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(repr(head.tissues[known[n]]) for n in near)}? " * bool(
            near
        )
        raise InputError(
            f"tissue={shown(tissue)} is not one that the classifier knows",
            f"{hint}It knows {', '.join(head.tissues)}; leave it out for another",
        )
    expected = head.occurs[known[tissue.strip().lower()]] | (head.occurs.sum(axis=0) >= _EVERYWHERE)
    return expected | (head.occurs[known["blood"]] if "blood" in known else False)


def guessed_tissues(head: TermHead, shares: np.ndarray, n: int = 3) -> dict[str, Any]:
    """Return the tissues whose cell types explain most of these cells, for the record."""
    if not np.isfinite(shares).any():
        return {}
    share = head.tissue_shares(shares)
    best = np.argsort(-share, kind="stable")[:n]
    names = np.array(head.tissues, dtype=str)[best]
    return {"tissue_guess": {"tissues": names, "shares": share[best].astype(np.float32)}}
