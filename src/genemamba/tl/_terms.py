"""Labels from the classifier of a checkpoint, in the terms of the Cell Ontology."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from genemamba.errors import InputError, shown
from genemamba.heads import TermHead
from genemamba.heads.terms import SURE
from genemamba.ontology import Ontology

Level: TypeAlias = Literal["auto", "fine", "broad"] | int | Sequence[str]
"""Or an array, Series or Index of terms."""
_USE = "use 'auto', 'fine', 'broad', a depth such as 5, or a list of cell types"
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
_EVERYWHERE = 3  # a type of so many tissues in training is expected in any


def terms_of_level(head: TermHead, level: Level) -> tuple[np.ndarray, float]:
    """Return which terms can be given, ``(n_terms,)`` bool, and how sure they have to be.

    Raises
    ------
    InputError
        If the level is unknown or beyond the tree, or the classifier does not know a term.
    """
    ontology = Ontology.load()
    if isinstance(level, str):
        if level == "auto":
            return np.ones(len(head.terms), dtype=bool), SURE
        if level == "fine":
            return head.finest, 0.0
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
    elif pd.api.types.is_list_like(level):
        terms: list[Any] = [*level]  # type: ignore[misc]
        if terms:
            return np.isin(head.terms, [_known(head, ontology, term) for term in terms]), SURE
    known = isinstance(level, str) and ontology.find(level) is not None
    raise InputError(
        f"level={shown(level)} is unknown",
        f"give a list, even of one cell type: level=[{level!r}]" if known else _USE,
    )


def recorded_level(level: Any) -> Any:
    """Return a level as a file can keep it."""
    if isinstance(level, str):
        return level
    return np.array([*level], dtype=str) if pd.api.types.is_list_like(level) else int(level)


def allowed_terms(
    head: TermHead, level: Level, tissue: str | None, labels: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """Return the same, without terms none of whose labels is expected in the tissue.

    Raises
    ------
    InputError
        If none is left, too.
    """
    among, sure = terms_of_level(head, level)
    expected = among if labels is None else among & head.holds[:, labels].any(axis=1)
    if not expected.any():
        where = "" if tissue is None else f" is expected in tissue={tissue!r}"
        raise InputError(
            f"no cell type of level={shown(level)}{where or ' is known to the classifier'}",
            "leave out tissue, or use level='auto'" if tissue else "use level='auto'",
        )
    return expected, sure


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
    hint = f"did you mean {', '.join(map(repr, near))}?" if near else "leave it out of level"
    raise InputError(what, hint)


def labels_of_tissue(head: TermHead, tissue: str | None) -> np.ndarray | None:
    """Return the labels expected in a tissue, ``(n_labels,)`` bool; None for all.

    These are the labels of training cells from it, from blood, or from several other tissues.

    Raises
    ------
    InputError
        If no training cell was from this tissue.
    """
    if tissue is None:
        return None
    known = {name.lower(): i for i, name in enumerate(head.tissues)}
    if not isinstance(tissue, str) or tissue.strip().lower() not in known:
        near = difflib.get_close_matches(str(tissue).lower(), known, n=3, cutoff=0.6)
        names = ", ".join(repr(head.tissues[known[name]]) for name in near)
        hint = f"did you mean {names}? Otherwise " if near else ""
        raise InputError(
            f"tissue={shown(tissue)} is not one that the classifier was trained on",
            f"{hint}use one of {', '.join(head.tissues)}, or leave out tissue",
        )
    expected = head.occurs[known[tissue.strip().lower()]] | (head.occurs.sum(axis=0) >= _EVERYWHERE)
    return expected | (head.occurs[known["blood"]] if "blood" in known else False)


def guessed_tissues(head: TermHead, mean: np.ndarray, n: int = 3) -> dict[str, Any]:
    """Return the tissues that explain most of the shares of terms in the mean over cells."""
    if not np.isfinite(mean).any():
        return {}
    share = head.tissue_shares(mean[None])
    best = np.argsort(-share, kind="stable")[:n]
    names = np.array(head.tissues, dtype=str)[best]
    return {"tissue_guess": {"tissues": names, "shares": share[best].astype(np.float32)}}
