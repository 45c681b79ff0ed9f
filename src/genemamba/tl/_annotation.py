"""What cells are called: from a classifier to the slots of an AnnData."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba._keys import AnnotationKeys
from genemamba.cells.colors import write_colors
from genemamba.cells.labels import UNKNOWN
from genemamba.heads import TermHead
from genemamba.heads.head import FAMILIAR
from genemamba.ontology import Ontology
from genemamba.tl._annotation_summary import counts_lost
from genemamba.tl._classifier import Classifier
from genemamba.tl._embedding import Embedding
from genemamba.tl._terms import Level, guessed_tissues, labels_of_tissue, terms_of_level


@dataclass(frozen=True, eq=False)
class Annotation:
    """The classes of all cells; NaN in cells with a given label or without an embedding."""

    given: np.ndarray
    """``(n_cells,)`` the label that was given, "" for the others."""
    classes: tuple[str, ...]
    table: np.ndarray
    """``(n_cells, n_classes)`` float32, how probable each class is."""
    best: np.ndarray
    """``(n_cells,)`` the class of each cell, -1 where none is sure enough."""
    distance: np.ndarray
    """``(n_cells,)`` float32, to the nearest reference cells."""
    unlike: np.ndarray
    """``(n_cells,)`` bool, whether a cell is unlike the reference."""
    pick: Callable[[np.ndarray], np.ndarray]
    """Rows of `table` to classes, or -1."""
    below: np.ndarray
    """``(n_classes, n_classes)`` bool: whether a class (row) is another, or a kind of it."""
    novelty: np.ndarray | None = None
    """``(n_cells,)`` float32, the fraction of held-out reference cells that are less unlike it."""
    sets: np.ndarray | None = None
    """``(n_cells, n_classes)`` bool, prediction sets."""
    ids: tuple[str, ...] | None = None
    """Cell Ontology ids of the classes."""

    @property
    def asked(self) -> np.ndarray:
        """The cells to name."""
        return self.given == ""

    def nameless(self, *, unknown: bool) -> np.ndarray:
        """Return the cells that get no name; if `unknown`, those unlike the reference, too."""
        none = self.asked & (self.best < 0)
        return none | (self.asked & self.unlike) if unknown else none


def by_reference(
    fitted: Classifier, cells: Embedding, given: np.ndarray, coverage: float | None
) -> tuple[Annotation, dict[str, Any]]:
    """Name cells by a classifier fitted to labelled ones; return what the record keeps, too."""
    head, asked, read = fitted.head, np.flatnonzero(given == ""), fitted.read(cells)
    proba = np.full((len(given), len(head.classes)), np.nan, dtype=np.float32)
    distance, novelty = (np.full(len(given), np.nan, dtype=np.float32) for _ in range(2))
    vectors, X = read.vectors[asked], fitted.features(read, asked)
    proba[asked] = fitted.proba(X, read, asked)
    distance[asked] = head.distance(vectors)
    novelty[asked] = head.unlike(distance[asked], proba[asked], fitted.traits(vectors))
    sets = None
    if coverage is not None:
        sets = np.zeros(proba.shape, dtype=bool)
        sets[asked] = head.sets(X, proba[asked], coverage)
    found = Annotation(
        given,
        head.classes,
        proba,
        _most_probable(proba),
        distance,
        ~(novelty <= FAMILIAR),
        _most_probable,
        np.eye(len(head.classes), dtype=bool),
        novelty=novelty,
        sets=sets,
    )
    return found, {
        "method": head.kind,
        "reads": head.reads,
        "temperature": head.temperature,
        "farthest": head.farthest,
        **head.info,
        **perhaps_absent(found),
        **counts_lost(head, cells.measured),
    }


def by_terms(
    head: TermHead, cells: Embedding, level: Level, tissue: str | None, *, unknown: bool
) -> tuple[Annotation, dict[str, Any]]:
    """Name cells by terms of the Cell Ontology; return what the record keeps, too."""
    among, sure = terms_of_level(head, level)
    shares = head.shares(cells.vectors, labels_of_tissue(head, tissue))
    panel = head.panel(cells.genes.tokens)
    confidence = head.confidence(shares, panel=panel)
    best = head.named(confidence, among, sure)
    if not unknown:
        best = np.where(best < 0, head.named(confidence, among, 0), best)
    distance = np.full(len(confidence), np.nan, dtype=np.float32)
    there = np.isfinite(confidence).all(axis=1)
    if there.any():
        distance[there] = head.reference.mean_distance(cells.vectors[there])
    ontology = Ontology.load()
    names = tuple(ontology.name(term) for term in head.terms)
    parts = head.holds.astype(np.float32)
    annotation = Annotation(
        np.full(len(confidence), "", dtype=object),
        names,
        confidence,
        best,
        distance,
        ~there if panel else ~(distance <= head.farthest),  # a panel lies elsewhere
        lambda table: head.named(table, among, sure),
        parts @ parts.T == parts.sum(axis=1)[:, None],
        ids=head.terms,
    )
    about = {"method": "terms", "panel": panel, "farthest": head.farthest, **head.info}
    about |= {"counts_lost": {"unknown_genes": cells.measured.unknown}} if cells.measured else {}
    return annotation, about | ({} if tissue else guessed_tissues(head, shares))


def perhaps_absent(found: Annotation) -> dict[str, Any]:
    """Return the classes of which no cell is labelled, or less than one cell is expected."""
    named = found.best[found.asked & ~found.unlike]
    expected = np.nansum(found.table, axis=0).tolist()
    none = [c for i, (c, n) in enumerate(zip(found.classes, expected, strict=True))
            if n < 1 or i not in named]  # fmt: skip
    return {"perhaps_absent": np.array(none, dtype=str)}


def write(
    adata: AnnData,
    keys: AnnotationKeys,
    found: Annotation,
    *,
    unknown: bool,
    groups: pd.Series | None,
) -> dict[str, Any]:
    """Write the slots; return what the record keeps."""
    none = found.nameless(unknown=unknown)
    code = np.where(found.asked & ~none, found.best, -1)
    names = _named(found.classes, code, found.given)
    names[none] = UNKNOWN if unknown else np.nan
    used = slice(None) if found.ids is None else np.unique(code[code >= 0])
    ids = None if found.ids is None else _named(found.ids, code, found.given)
    columns = {
        keys.label: pd.Categorical(names, _in_order(names, found.classes)),
        keys.cl: None if ids is None else pd.Categorical(ids),
        keys.confidence: _confidence(found),
        keys.distance: found.distance,
        keys.novelty: found.novelty,
        keys.group_label: None,
    }
    entry = {
        "annotated": int(found.asked.sum()),
        "unknown": int(none.sum()) if unknown else 0,
        "classes": np.array(found.classes, dtype=str)[used],
    }
    if groups is not None:
        columns[keys.group_label], entry["groups"] = _named_groups(found, groups, unknown=unknown)
    _put(adata.obs, columns)
    _put(adata.obsm, {keys.proba: found.table[:, used], keys.sets: found.sets})
    for key in (keys.label, keys.group_label):
        if key in adata.obs:
            write_colors(adata, key)
    return entry


def _put(slots: Any, values: dict[str, Any]) -> None:
    """Write values; delete what an earlier call wrote where there is none."""
    for key, value in values.items():
        if value is not None:
            slots[key] = value
        elif key in slots:
            del slots[key]


def _in_order(names: np.ndarray, classes: tuple[str, ...]) -> list[str]:
    """Return the names that occur: classes, then labels of no class, then "unknown"."""
    there = {*names[pd.notna(names)]}
    others = sorted(there - {*classes, UNKNOWN})
    last = [UNKNOWN] * (UNKNOWN in there and UNKNOWN not in classes)
    return [name for name in classes if name in there] + others + last


def _named(names: tuple[str, ...], code: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the names of these classes, and what was given instead; NaN for neither."""
    out = np.where(given == "", np.nan, given)
    out[code >= 0] = np.array(names, dtype=object)[code[code >= 0]]
    return out


def _confidence(found: Annotation) -> np.ndarray:
    """Return how probable the class of each cell is; of the most probable, where none is sure."""
    own = np.take_along_axis(found.table, np.maximum(found.best, 0)[:, None], axis=1)[:, 0]
    return np.where(found.best >= 0, own, found.table.max(axis=1)).astype(np.float32)


def _named_groups(
    found: Annotation, groups: pd.Series, *, unknown: bool
) -> tuple[pd.Categorical, dict[str, Any]]:
    """Return the label of each cell's group, and what the record keeps of the groups.

    A group is called what its cells are called in the mean, and is unknown if most of them are
    unlike the reference.
    """
    names, code = np.unique(groups.astype(str).to_numpy(dtype=str), return_inverse=True)
    there = np.isfinite(found.table).all(axis=1)
    parts = [
        _one_group(found, np.flatnonzero((code == k) & there), unknown) for k in range(len(names))
    ]
    labels, confidence, agreement = zip(*parts, strict=True)
    about = {
        "groupby": str(groups.name),
        "name": names,
        "label": np.array(labels, dtype=str),
        "confidence": np.array(confidence, dtype=np.float32),
        "agreement": np.array(agreement, dtype=np.float32),
        "cells": np.bincount(code, minlength=len(names)),
    }
    each = np.array(labels, dtype=object)[code]
    return pd.Categorical(each, _in_order(each, found.classes)), about


def _one_group(found: Annotation, cells: np.ndarray, unknown: bool) -> tuple[str, float, float]:
    """Return label and confidence of a group, and the share of its cells that agree."""
    if not len(cells):
        return UNKNOWN, np.nan, np.nan
    mean = found.table[cells].mean(axis=0, keepdims=True)
    best, unlike = int(found.pick(mean)[0]), found.unlike[cells]
    if best < 0 or (unknown and unlike.mean() > 0.5):
        return UNKNOWN, np.nan, float(unlike.mean())
    named = found.best[cells]
    agrees = (named >= 0) & found.below[np.maximum(named, 0), best] & ~(unlike & unknown)
    return found.classes[best], float(mean[0, best]), float(agrees.mean())


def _most_probable(proba: np.ndarray) -> np.ndarray:
    known = np.isfinite(proba).all(axis=1)
    return np.where(known, np.nan_to_num(proba).argmax(axis=1), -1)
