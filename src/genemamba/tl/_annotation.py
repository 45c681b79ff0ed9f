"""What cells are called: from a classifier to the slots of an AnnData."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from genemamba._keys import AnnotationKeys, colors_key
from genemamba.cells.colors import write_colors
from genemamba.cells.labels import UNKNOWN
from genemamba.heads.head import FAMILIAR
from genemamba.tl._annotation_groups import named_groups
from genemamba.tl._annotation_summary import counts_lost
from genemamba.tl._classifier import Classifier
from genemamba.tl._embedding import Embedding

_BLOCK = 50_000  # cells whose traits are in memory at once


@dataclass(frozen=True, eq=False)
class Annotation:
    """The classes of all cells; NaN in cells with a given label or without an embedding."""

    given: np.ndarray
    """``(n_cells,)`` the label that was given, "" for the others."""
    classes: tuple[str, ...]
    table: np.ndarray | sparse.csr_matrix
    """``(n_cells, n_classes)`` float32, how probable each class is; in a sparse one, which is
    smaller for hundreds of terms, rows of NaN are empty."""
    best: np.ndarray
    """``(n_cells,)`` the class of each cell, given or found, -1 where none is sure enough."""
    confidence: np.ndarray
    """``(n_cells,)`` float32, how probable it is; if none is sure, the most probable one."""
    distance: np.ndarray
    """``(n_cells,)`` float32, to the nearest reference cells."""
    unlike: np.ndarray
    """``(n_cells,)`` bool, whether a cell is unlike the reference."""
    pick: Callable[[np.ndarray], np.ndarray]
    """Rows of `table`, NaN ones too, to classes, or -1."""
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

    def columns(self, used: np.ndarray | slice) -> np.ndarray:
        """Return some columns of `table`, NaN where it has none."""
        if isinstance(self.table, np.ndarray):
            return self.table[:, used]
        out = self.table[:, used].toarray()
        out[np.isnan(self.confidence)] = np.nan
        return out


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
    for part in np.array_split(asked, len(asked) // _BLOCK + 1):
        of_traits = fitted.distance_of_traits(read.vectors[part])
        novelty[part] = head.unlike(distance[part], proba[part], of_traits)
    sets = None
    if coverage is not None:
        sets = np.zeros(proba.shape, dtype=bool)
        sets[asked] = head.sets(X, proba[asked], coverage)
    found = Annotation(
        given,
        head.classes,
        proba,
        np.where(given == "", _most_probable(proba), pd.Index(head.classes).get_indexer(given)),
        proba.max(axis=1),
        distance,
        ~(novelty <= FAMILIAR),
        _most_probable,
        np.eye(len(head.classes), dtype=bool),
        novelty=None if head.novelty is None else novelty,  # else 0 or 1, by distance alone
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


def perhaps_absent(found: Annotation) -> dict[str, Any]:
    """Return the classes of which no cell is labelled, or less than one cell is expected."""
    named = found.best[found.asked & ~found.unlike]
    expected = np.nansum(found.columns(slice(None)), axis=0).tolist()
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
        keys.confidence: found.confidence,
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
        each, entry["groups"] = named_groups(found, groups, unknown=unknown)
        columns[keys.group_label] = pd.Categorical(each, _in_order(each, found.classes))
    _put(adata.obs, columns)
    _put(adata.obsm, {keys.proba: found.columns(used), keys.sets: found.sets})
    for key in (keys.label, keys.group_label):
        if (written := columns[key]) is not None:
            write_colors(adata, key, written.categories.tolist())
        else:
            adata.uns.pop(colors_key(key), None)
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


def _most_probable(proba: np.ndarray) -> np.ndarray:
    known = np.isfinite(proba).all(axis=1)
    return np.where(known, np.nan_to_num(proba).argmax(axis=1), -1)
