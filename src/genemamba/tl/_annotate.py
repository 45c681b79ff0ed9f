"""Cells to cell types."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba import models
from genemamba._keys import ANNOTATION, OBSM_EMBEDDING, AnnotationKeys, annotation_keys
from genemamba.cells.labels import UNKNOWN, read_labelled
from genemamba.cells.read import lost
from genemamba.cells.record import check_slots, record
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.heads import LabelHead
from genemamba.tl._classifier import Classifier, Method, fit_classifier, read_classifier
from genemamba.tl._embed import warn
from genemamba.tl._source import Source, require_common_genes

if TYPE_CHECKING:
    from genemamba.models._load import ModelLike
    from genemamba.network import GeneMamba


def annotate(
    adata: AnnData,
    *,
    reference: AnnData | str | PathLike[str] | None = None,
    label_key: str | None = None,
    method: Method = "auto",
    batch_key: str | None = None,
    unknown: bool = True,
    coverage: float | None = None,
    model: ModelLike = "genemamba-mini",
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    reference_layer: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    folder: str | PathLike[str] | None = None,
    key_added: str = ANNOTATION,
    rng: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Name the cell type of each cell, say how sure that is, and which cells are none of them.

    Labels come from a labelled `reference`; or from the labelled part of `adata` (`label_key`
    missing, NaN or "", elsewhere); or, with neither, from the checkpoint's own head: of
    ``genemamba-mini`` nine types of blood cells.

    Parameters
    ----------
    adata
        Cells × genes, as for :func:`genemamba.tl.embed`.
    reference
        AnnData with labels, or the folder of an earlier annotation.
    label_key
        Column of ``obs`` with the labels: of `reference` if there is one, else of `adata`.
    method
        ``"probe"``: a linear classifier on the frozen embedding (``"auto"``). ``"knn"``: the vote
        of the 30 nearest reference cells. ``"finetune"``: the model itself is trained with a
        [CLS] token and a classifier on it, as in the paper [1]_; takes minutes, and a GPU helps.
    batch_key
        Column of ``obs`` with donors or batches of the labelled cells. Confidence, sets and
        "unknown" are then set on whole donors held out, and mean something for new donors.
    unknown
        Call cells "unknown" that lie farther from the reference than 95 % of its own held-out
        cells do.
    coverage
        Also write prediction sets that hold the true class with this probability [2]_ of cells
        drawn as the labelled ones were. In simulated references of 150 and 600 cells sets of .90
        hold it in .90 ± .01, fine-tuned ± .03; in more where the most probable class, which is
        always in the set, is right more often.
    model
        As for :func:`genemamba.tl.embed`.
    layer, gene_ids
        As for :func:`genemamba.tl.embed`, of `adata` and of `reference`. Of `reference` a column
        of the same name is read, if it has one, else ``var_names``.
    reference_layer
        Layer to read of `reference`, if it is another one; ``"X"`` reads its ``X``.
    recipe
        Settings of fine-tuning, fields of :class:`genemamba.train.finetune.FineTuneRecipe`:
        ``{"tune": "lora"}`` trains low-rank adapters, ``{"tune": "head"}`` the classifier alone.
    folder
        Keep the fitted classifier there, to be used as `reference`. Fine-tuning that was broken
        off goes on from there when the same call is made again.
    key_added
        What the names of the slots begin with.
    rng
        Seed of folds and training.
    copy
        Return a changed copy and leave `adata` alone.

    Returns
    -------
    ``None``, or the changed copy. Writes (with `key_added` in place of the leading "genemamba")

    ``adata.obs["genemamba_label"]``
        Categorical. Labels that were given stay as they are.
    ``adata.obs["genemamba_confidence"]``
        float32, calibrated probability of the most probable class (temperature scaling on
        held-out cells [3]_), of unknown cells too; NaN where the label was given, or where the
        cell has no embedding.
    ``adata.obs["genemamba_distance"]``
        float32, mean Euclidean distance to the ten nearest reference cells, on which "unknown"
        rests; NaN as above.
    ``adata.obsm["genemamba_proba"]``
        float32, ``n_obs × n_classes``, in the order of
        ``adata.uns["genemamba"]["annotate"]["classes"]``; NaN as above.
    ``adata.obsm["genemamba_sets"]``
        With `coverage`: bool, the prediction sets, in the same order.
    ``adata.obsm["X_genemamba"]``
        The embedding and its record, if it was not there. One that is there stays; it is used if
        it was made by this model, of this layer, these genes and 2,048 tokens a cell, and cells
        are embedded again if not.
    ``adata.uns["genemamba"]["annotate"]``
        Model, method, classes, temperature, distance of "unknown", number of unknown cells;
        accuracy and macro-F1 on labelled cells that neither trained nor chose the classifier.

    Raises
    ------
    InputError
        If labels are missing, numbers or of one class only; reference and `adata` share no gene
        or were embedded by different models; a slot is taken. Nothing has been written then.
    CheckpointError
        If the model or the folder is damaged, or the checkpoint has no head of its own.

    References
    ----------
    .. [1] Qi et al., *GeneMamba: Efficient and Effective Foundation Model on Single Cell Data*.
    .. [2] Sadinle, Lei and Wasserman, *Least Ambiguous Set-Valued Classifiers with Bounded Error
       Levels*, JASA 2019.
    .. [3] Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.tl.annotate(adata, layer="raw", unknown=False)  # it has 765 genes: all seem unfamiliar
    >>> "B cell" in set(adata.obs["genemamba_label"])
    True
    """
    keys = annotation_keys(key_added)
    check_slots(adata, keys.record, copy=copy, obs=keys.obs, obsm=keys.obsm)
    _check_arguments(reference, reference_layer, label_key, method, coverage, recipe, folder)
    loaded = models.load(model)
    cells = Source(adata, loaded, layer, gene_ids)
    given = np.full(adata.n_obs, "", dtype=object)
    if label_key is None:
        fitted = read_classifier(reference, loaded)
    elif isinstance(reference, AnnData):
        theirs = layer if reference_layer is None else reference_layer
        theirs = None if reference_layer == "X" else theirs
        source = Source(reference, loaded, theirs, gene_ids, of="reference")
        require_common_genes(cells, source)
        labelled = read_labelled(
            reference, label_key, batch_key, unknown=unknown, of="reference"
        ).embedded(source.vectors)
        fitted = fit_classifier(source, labelled, method, recipe, folder, rng)
        if source.new and (said := lost(source.new.entry["counts_lost"])):
            warnings.warn(f"of reference: {said}", GeneMambaWarning, stacklevel=2)
    else:
        labelled = read_labelled(adata, label_key, batch_key, unknown=unknown)
        labelled = labelled.embedded(cells.vectors)
        given = labelled.given
        if (given != "").all():
            raise InputError(
                f"every cell has a label in adata.obs[{label_key!r}]: none is left to annotate",
                "set labels to NaN, or give the labelled cells as reference",
            )
        fitted = fit_classifier(cells, labelled, method, recipe, folder, rng)
    head = fitted.head
    answer = _answer(fitted, cells, given, coverage)
    if copy:
        adata = adata.copy()
    if cells.new is not None and OBSM_EMBEDDING not in adata.obsm:
        cells.new.write(adata, OBSM_EMBEDDING)
        warn(cells.new.entry, OBSM_EMBEDDING)
    entry = _write(adata, keys, head, answer, unknown=unknown)
    record(
        adata,
        keys.record,
        {
            "model_sha256": loaded.provenance.get("sha256", "unsaved"),
            "method": head.kind,
            "reference": _name(reference, label_key, loaded),
            "params": {
                "label_key": label_key or "",
                "batch_key": batch_key or "",
                "unknown": unknown,
                "coverage": coverage or 0.0,
                "rng": rng,
                **cells.params,
            },
            "embedding_reused": cells.new is None,
            "classes": np.array(head.classes, dtype=str),
            "temperature": head.temperature,
            "farthest": head.farthest,
            **head.info,
            **entry,
        },
    )
    if entry["unknown"] > 0.5 * entry["annotated"]:
        own = reference is None and label_key is None
        them = "what the head of the checkpoint was taught on" if own else "the reference"
        remedy = "give a reference of the same genes, or " if own else ""
        warnings.warn(
            f"{entry['unknown']:,} of {entry['annotated']:,} cells are unlike {them}: of another "
            f"tissue, or measured on other genes; {remedy}unknown=False names them all the same",
            GeneMambaWarning,
            stacklevel=2,
        )
    return adata if copy else None


@dataclass(frozen=True, eq=False)
class _Answer:
    """What was found for every cell; NaN and empty where nothing was asked."""

    given: np.ndarray
    proba: np.ndarray
    distance: np.ndarray
    sets: np.ndarray | None

    @property
    def asked(self) -> np.ndarray:
        return self.given == ""


def _check_arguments(
    reference: Any,
    reference_layer: str | None,
    label_key: str | None,
    method: str,
    coverage: float | None,
    recipe: Any,
    folder: Any,
) -> None:
    if method not in ("auto", "knn", "probe", "finetune"):
        raise InputError(
            f"method={method!r} is unknown", "use 'auto', 'knn', 'probe' or 'finetune'"
        )
    if coverage is not None and not 0 < coverage < 1:
        raise InputError(f"coverage={coverage!r} is not between 0 and 1", "give e.g. coverage=0.9")
    if recipe is not None and method != "finetune":
        raise InputError(f"recipe={recipe!r} is of no use here", "set method='finetune', too")
    if isinstance(reference, AnnData):
        if label_key is None:
            have = ", ".join(map(repr, reference.obs.columns)) or "none"
            raise InputError(
                "reference is given without label_key",
                f"say which column of reference.obs holds the labels; its columns are: {have}",
            )
        return
    if reference_layer is not None:
        raise InputError(
            f"reference_layer={reference_layer!r}, but reference is no AnnData",
            "leave out reference_layer; layer is that of adata",
        )
    if reference is not None and label_key is not None:
        raise InputError(
            f"reference={str(reference)!r} brings its own labels, and label_key={label_key!r}",
            "leave out label_key, or give the labelled AnnData as reference",
        )
    if label_key is None:
        for name, value in (("method", method), ("folder", folder)):
            if value not in ("auto", None):
                raise InputError(
                    f"{name}={value!r}, but there are no labels to fit to",
                    "give label_key, and reference if the labels are those of another AnnData",
                )


def _answer(
    fitted: Classifier, cells: Source, given: np.ndarray, coverage: float | None
) -> _Answer:
    asked = np.flatnonzero(given == "")
    proba = np.full((len(given), len(fitted.head.classes)), np.nan, dtype=np.float32)
    distance = np.full(len(given), np.nan, dtype=np.float32)
    proba[asked] = fitted.proba(cells, asked)
    distance[asked] = fitted.head.distance(cells.vectors[asked])
    sets = None if coverage is None else fitted.head.sets(cells.vectors, proba, coverage)
    return _Answer(given, proba, distance, sets)


def _write(
    adata: AnnData, keys: AnnotationKeys, head: LabelHead, answer: _Answer, *, unknown: bool
) -> dict[str, int]:
    """Write the slots; return how many cells became what."""
    found = np.isfinite(answer.proba).all(axis=1)
    names = answer.given.copy()
    names[found] = np.array(head.classes, dtype=object)[answer.proba[found].argmax(axis=1)]
    none = answer.asked & ~(answer.distance <= head.farthest) if unknown else answer.asked & ~found
    names[none] = UNKNOWN if unknown else np.nan
    given = sorted({*answer.given} - {"", *head.classes})  # labels of cells without an embedding
    categories = [*head.classes, *given, *([UNKNOWN] if unknown else [])]
    adata.obs[keys.label] = pd.Categorical(names, categories=categories)
    adata.obs[keys.confidence] = answer.proba.max(axis=1)
    adata.obs[keys.distance] = answer.distance
    tables = {keys.proba: answer.proba, keys.sets: answer.sets}
    for key, table in tables.items():
        if table is None:
            adata.obsm.pop(key, None)  # of an earlier call
        else:
            adata.obsm[key] = table
    return {"annotated": int(answer.asked.sum()), "unknown": int(none.sum()) if unknown else 0}


def _name(reference: Any, label_key: str | None, loaded: GeneMamba) -> str:
    """Say in words where the labels come from."""
    if isinstance(reference, AnnData):
        return f"AnnData with {reference.n_obs} cells"
    if reference is not None:
        return os.fspath(reference)
    return "adata" if label_key else str(loaded.provenance.get("name", "the checkpoint"))
