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
from genemamba._docs import documented
from genemamba._keys import (
    ANNOTATION,
    OBSM_EMBEDDING,
    UNS_ANNOTATE,
    AnnotationKeys,
    annotation_keys,
)
from genemamba._progress import tell
from genemamba._rng import Rng, recorded_seed
from genemamba._settings import check_share
from genemamba.cells.labels import UNKNOWN, read_labelled, require_no_unknown
from genemamba.cells.open import cells_of, is_path
from genemamba.cells.read import Reading
from genemamba.cells.record import check_key, check_slots, entry_of, record
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.heads import LabelHead
from genemamba.tl._annotation_summary import counts_lost, perhaps_absent, summary
from genemamba.tl._classifier import Classifier, Method, fit_classifier, read_classifier
from genemamba.tl._embedding import Embedding, Running
from genemamba.tl._reference import read_reference, refuse_other_model, warn_of_lost

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.models._load import ModelLike
    from genemamba.network import GeneMamba
    from genemamba.network.runtime import Backend, BatchSize, Device, Precision


@documented
def annotate(
    adata: AnnData | MuData,
    *,
    reference: AnnData | MuData | str | PathLike[str] | None = None,
    label_key: str | None = None,
    method: Method = "auto",
    batch_key: str | None = None,
    unknown: bool = True,
    coverage: float | None = None,
    model: ModelLike = "genemamba-mini",
    mod: str | None = None,
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    max_tokens: int = 2048,
    reference_layer: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    folder: str | PathLike[str] | None = None,
    batch_size: BatchSize = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    key_added: str = ANNOTATION,
    rng: Rng = 0,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Label cell types, with calibrated confidence and an "unknown" for unfamiliar cells.

    Labels come from a labelled `reference`; or from some cells of `adata` that are already
    labelled (`label_key` missing, NaN or "" for the others); or, with neither, from the classifier
    that comes with the checkpoint: for ``genemamba-mini`` nine types of blood cells.

    If one of `adata` and `reference` measures a panel, so that more than a tenth of the counts of
    the other are on genes it lacks, the other is read on the shared genes only: a panel lies
    elsewhere in the embedding than a whole transcriptome. A short summary is printed to standard
    error; ``TQDM_DISABLE=1`` turns it off.

    Parameters
    ----------
    adata
        Cells × genes, as for :func:`genemamba.tl.embed`.
    reference
        AnnData or MuData with labels, or the folder of an earlier annotation.
    label_key
        Column of ``obs`` with the labels: of `reference` if there is one, otherwise of `adata`.
    method
        ``"auto"``: the best of four on held-out cells, by macro-F1: logistic regression on the
        embedding, on log-expression of the genes that both measure, or on both joined; or
        ``"knn"``. ``"probe"``: regression on the embedding. ``"knn"``: the vote of the 30 nearest
        reference cells. ``"finetune"``: the model itself is trained with a [CLS] token and a
        classifier on it, as in the paper [1]_; takes minutes, and a GPU helps.
    batch_key
        Column of ``obs`` with donors or batches of the labelled cells. The method is then chosen,
        and confidence, sets and "unknown" are calibrated, on whole held-out donors, so that they
        hold for new donors.
    unknown
        Label cells "unknown" that are farther from the reference than 95 % of its own held-out
        cells are.
    coverage
        Also write prediction sets that contain the true class with this probability [2]_, for
        cells drawn as the labelled ones were. In simulated references of 150 and 600 cells, sets
        of .90 contain it in .90 ± .01 of cells, fine-tuned ± .03; in more where the most probable
        class, which is always in the set, is right more often.
    {model}
    {reading}
    reference_layer
        Layer to read of `reference`, if it is another one; ``"X"`` reads its ``X``. A column
        `gene_ids` is read of `reference`, too, if it has one.
    recipe
        Settings of fine-tuning, fields of :class:`genemamba.train.finetune.FineTuneRecipe`:
        ``{"tune": "lora"}`` trains low-rank adapters, ``{"tune": "head"}`` the classifier alone.
    folder
        Save the fitted classifier there, to be used as `reference`. Interrupted fine-tuning
        resumes from there when the same call is made again.
    {running}
    key_added
        Prefix of the slots.
    rng
        Seed, or generator, of folds and training.
    {copy}

    Returns
    -------
    ``None``, or the modified copy. Writes (with `key_added` in place of the leading "genemamba")

    ``adata.obs["genemamba_label"]``
        Categorical. Labels that were given stay as they are.
    ``adata.obs["genemamba_confidence"]``
        float32, calibrated probability of the most probable class (temperature scaling on
        held-out cells [3]_), of unknown cells too; NaN where the label was given, or where the
        cell has no embedding.
    ``adata.obs["genemamba_distance"]``
        float32, mean Euclidean distance to the ten nearest reference cells, which
        decides "unknown"; NaN as above.
    ``adata.obsm["genemamba_proba"]``
        float32, ``n_obs × n_classes``, in the order of
        ``adata.uns["genemamba"]["annotate"]["classes"]``; NaN as above.
    ``adata.obsm["genemamba_sets"]``
        With `coverage`: bool, the prediction sets, in the same order.
    ``adata.obsm["X_genemamba"]``
        The embedding and its record, if the slot was empty. An existing one is kept; it is used if
        it was computed by this model from this layer, these genes and as many tokens per cell,
        otherwise cells are embedded again.
    ``adata.uns["genemamba"]["annotate"]``
        Model, method, what it reads ("embedding", "expression", "joined"), classes, temperature,
        distance of "unknown", number of unknown cells; accuracy and macro-F1 on labelled cells that
        did not train or choose the classifier. Also: ``"candidates"``, the macro-F1 of each
        candidate of ``"auto"`` in the mean over folds; ``"counts_lost"``, the shares of the counts
        of `adata` on genes unknown to the model and on genes not measured in the reference;
        ``"perhaps_absent"``, classes that no cell is labelled as, or of which less than one cell is
        expected; ``"reference_genes"``, the number of genes, and their share of the counts, if
        the reference was read on some of its genes.

    Raises
    ------
    InputError
        If labels are missing, numbers or of one class only; reference and `adata` share no gene
        or were embedded by different models; a slot is taken. Nothing has been written then.
    CheckpointError
        If the model or the folder is damaged, or the checkpoint has no classifier.

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
    seed = recorded_seed(rng)
    check_key(key_added, ANNOTATION)
    keys = annotation_keys(key_added)
    _check_arguments(
        reference, reference_layer, label_key, method, coverage, recipe, folder, batch_key
    )
    reading = Reading(layer, gene_ids, max_tokens)
    running = Running(device, precision, backend, batch_size)
    with cells_of(adata, mod, copy) as (own, result):
        check_slots(own, keys.record, UNS_ANNOTATE, obs=keys.obs, obsm=keys.obsm)
        loaded = models.load(model)
        refuse_other_model(own, loaded, "adata")
        cells = Embedding(own, loaded, reading, running)
        given = np.full(own.n_obs, "", dtype=object)
        if label_key is None:
            fitted = read_classifier(reference, loaded)
            if unknown:
                require_no_unknown(fitted.head.classes)
        elif reference is not None:
            theirs = read_reference(reference, mod, cells, reference_layer)
            labelled = read_labelled(
                theirs.adata, label_key, batch_key, unknown=unknown, of="reference"
            )
            theirs = theirs.on_shared(cells.genes.tokens)
            labelled = labelled.embedded(theirs.vectors)
            fitted = fit_classifier(theirs, labelled, method, recipe, folder, rng, cells)
            warn_of_lost(theirs)
        else:
            labelled = read_labelled(own, label_key, batch_key, unknown=unknown)
            labelled = labelled.embedded(cells.vectors)
            given = labelled.given
            if (given != "").all():
                raise InputError(
                    f"every cell has a label in adata.obs[{label_key!r}]: none is left to annotate",
                    "set labels to NaN, or give the labelled cells as reference",
                )
            fitted = fit_classifier(cells, labelled, method, recipe, folder, rng)
        head = fitted.head
        answer = _answer(fitted, fitted.read(cells), given, coverage)
        if not cells.reused and OBSM_EMBEDDING not in own.obsm:
            cells.write(own, OBSM_EMBEDDING)
        entry = _write(own, keys, head, answer, unknown=unknown)
        params: dict[str, Any] = {
            "label_key": label_key or "",
            "batch_key": batch_key or "",
            "unknown": unknown,
            "coverage": coverage or 0.0,
            "rng": seed,
        }
        about = {
            **entry_of(loaded, reading, cells.runtime, **params),
            "method": head.kind,
            "reference": _name(reference, label_key, loaded),
            "embedding_reused": cells.reused,
            "classes": np.array(head.classes, dtype=str),
            "reads": head.reads,
            "temperature": head.temperature,
            "farthest": head.farthest,
            **head.info,
            **entry,
            **perhaps_absent(head.classes, answer.proba, own.obs[keys.label][answer.asked]),
            **counts_lost(head, cells.measured),
        }
        record(own, keys.record, about)
    tell(summary(about))
    _warn_of_unknown(entry, bundled=reference is None and label_key is None)
    return result


@dataclass(frozen=True, eq=False)
class _Answer:
    """The result for every cell; NaN for cells with a given label."""

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
    batch_key: str | None,
) -> None:
    if method not in ("auto", "knn", "probe", "finetune"):
        raise InputError(
            f"method={method!r} is unknown", "use 'auto', 'knn', 'probe' or 'finetune'"
        )
    if coverage is not None:
        check_share("coverage", coverage)
    if recipe is not None and method != "finetune":
        raise InputError(f"recipe={recipe!r} needs method='finetune'", "also set method='finetune'")
    if reference is not None and not is_path(reference):
        if label_key is None:
            have = ", ".join(map(repr, getattr(reference, "obs", pd.DataFrame()))) or "none"
            raise InputError(
                "reference is given without label_key",
                f"say which column of reference.obs holds the labels; its columns are: {have}",
            )
        return
    if reference_layer is not None:
        raise InputError(
            f"reference_layer={reference_layer!r}, but reference is not an AnnData",
            "leave out reference_layer; layer is that of adata",
        )
    if reference is not None and label_key is not None:
        raise InputError(
            f"reference={str(reference)!r} contains labels, but label_key={label_key!r} is given",
            "leave out label_key, or give the labelled AnnData as reference",
        )
    if label_key is None:
        for name, value in (("method", method), ("folder", folder), ("batch_key", batch_key)):
            if value not in ("auto", None):
                raise InputError(
                    f"{name}={value!r}, but there are no labels to fit to",
                    "give label_key, and reference if the labels are those of another AnnData",
                )


def _answer(
    fitted: Classifier, cells: Embedding, given: np.ndarray, coverage: float | None
) -> _Answer:
    asked = np.flatnonzero(given == "")
    proba = np.full((len(given), len(fitted.head.classes)), np.nan, dtype=np.float32)
    distance = np.full(len(given), np.nan, dtype=np.float32)
    X = fitted.features(cells, asked)
    proba[asked] = fitted.proba(X, cells, asked)
    distance[asked] = fitted.head.distance(cells.vectors[asked])
    sets = None
    if coverage is not None:
        sets = np.zeros(proba.shape, dtype=bool)
        sets[asked] = fitted.head.sets(X, proba[asked], coverage)
    return _Answer(given, proba, distance, sets)


def _write(
    adata: AnnData, keys: AnnotationKeys, head: LabelHead, answer: _Answer, *, unknown: bool
) -> dict[str, int]:
    """Write the slots; return the number of annotated and of unknown cells."""
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


def _warn_of_unknown(entry: Mapping[str, int], *, bundled: bool) -> None:
    if entry["unknown"] <= 0.5 * entry["annotated"]:
        return
    them = "the training cells of the checkpoint's classifier" if bundled else "the reference"
    remedy = "give a reference of the same genes, or " if bundled else ""
    warnings.warn(
        f"{entry['unknown']:,} of {entry['annotated']:,} cells are unlike {them}: of another "
        f"tissue, or measured on other genes; {remedy}use unknown=False to label them anyway",
        GeneMambaWarning,
        stacklevel=3,
    )


def _name(reference: Any, label_key: str | None, loaded: GeneMamba) -> str:
    """Describe where the labels come from."""
    if reference is not None and not is_path(reference):
        return f"AnnData with {reference.n_obs} cells"
    if reference is not None:
        return os.fspath(reference)
    return "adata" if label_key else str(loaded.provenance.get("name", "the checkpoint"))
