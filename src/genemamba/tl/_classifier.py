"""The classifier that labels cells: fitted, read from a folder, or shipped with a checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from genemamba import maps
from genemamba._rng import Rng, generator_of, seed_of
from genemamba.cells.labels import Labelled
from genemamba.errors import CheckpointError, GeneMambaWarning, InputError
from genemamba.heads import (
    HeldOut,
    LabelHead,
    Reference,
    TermHead,
    fit_head,
    has_terms,
    is_head,
    read_head,
    read_terms,
    write_head,
)
from genemamba.heads.calibration import WORST
from genemamba.heads.head import JOINED
from genemamba.tl._embedding import Embedding, known_by
from genemamba.tl._expressed import components_of, fit_components
from genemamba.tokens import MUCH_LOST

if TYPE_CHECKING:
    from genemamba.network import GeneMamba
    from genemamba.train.finetune import FineTuned
    from genemamba.train.label_model import LabelModel

Method = Literal["auto", "knn", "probe", "finetune"]
OWN = "labels"  # folder of a checkpoint that holds its own head
FEW = 5  # fewer cells of a class make its predictions unreliable


@dataclass(frozen=True, eq=False)
class Classifier:
    """A head, and the fine-tuned model that computes its logits, if there is one."""

    head: LabelHead
    tuned: LabelModel | None = None
    terms: TermHead | None = None
    """The classifier of the checkpoint, which tells unknown types."""

    def distance_of_traits(self, vectors: np.ndarray) -> np.ndarray | None:
        """Return how far the traits of cells with these vectors are from the reference's."""
        if self.terms is None:
            return None
        return self._traits.mean_distance(self.terms.traits(vectors))

    @cached_property
    def _traits(self) -> Reference:
        assert self.terms is not None
        return Reference.unlabelled(self.terms.traits(self.head.reference.X))

    def read(self, cells: Embedding) -> Embedding:
        """Return cells read on the genes that the head was fitted on, if that matters."""
        fitted = self.head.measured
        if fitted is None:
            return cells
        missing = fitted.elsewhere(cells.genes.tokens)
        if missing > MUCH_LOST:
            warnings.warn(
                f"labels are less reliable: {missing:.0%} of the counts that the classifier was "
                "fitted to are on genes that adata does not measure; give the labelled cells as "
                "reference again, which are then read on the genes of adata",
                GeneMambaWarning,
                stacklevel=4,
            )
        return cells.on_shared(fitted.tokens)

    def features(self, cells: Embedding, asked: np.ndarray) -> np.ndarray:
        """Return what the head reads of the cells with these indices; NaN if not embedded."""
        X, components = cells.vectors[asked], self.head.components
        if components is None:
            return X
        expressed = components_of(cells, components)[asked]
        if self.head.reads == "joined":
            return np.hstack([X, expressed[:, :JOINED]])
        return np.where(np.isfinite(X).all(axis=1, keepdims=True), expressed, np.float32(np.nan))

    def proba(self, X: np.ndarray, cells: Embedding, asked: np.ndarray) -> np.ndarray:
        """Return probabilities of these cells from their features, ``(len(asked), n_classes)``."""
        if self.tuned is None:
            return self.head.proba(X)
        ranked = cells.tokens.ranked.take(asked)
        return self.head.proba(X, logits=self.tuned.logits(ranked, runtime=cells.runtime))


def fit_classifier(
    source: Embedding,
    labelled: Labelled,
    method: Method,
    recipe: Mapping[str, Any] | None,
    folder: str | PathLike[str] | None,
    rng: Rng,
    query: Embedding | None = None,
) -> Classifier:
    """Fit to labelled cells; keep the result in `folder`, if one is given.

    With "auto", expression is read of the genes that `query` measures, too.
    """
    _warn_of_few(labelled)
    generator = generator_of(rng)
    components: tuple[Any, ...] = (None, None)
    unread = ""
    if method == "auto":
        try:
            components = fit_components(source, labelled.cells, query, generator)
        except InputError as error:  # the embedding was there, its counts are not any more
            unread = error.what
    tuned = _tune(source, labelled, recipe, folder, rng) if method == "finetune" else None
    terms = terms_with(source.loaded)
    head = fit_head(
        source.vectors[labelled.cells],
        labelled.codes,
        labelled.classes,
        method,
        groups=labelled.groups,
        rng=generator,
        held_out=None if tuned is None else HeldOut(tuned.apart, tuned.apart_logits),
        components=components[0],
        expressed=components[1],
        traits=None if terms is None else terms.traits(source.vectors[labelled.cells]),
    )
    if unread:
        head.info["expression_unread"] = unread
    _say_if_expression_wins(head)
    head.info["model_sha256"] = known_by(source.loaded)
    head = replace(head, measured=source.measured)
    if source.reading.only is not None and head.measured is not None:
        head.info["reference_genes"] = {
            "number": len(head.measured.tokens),
            "share_of_counts": 1 - head.measured.unknown,
        }
    if head.temperature > 0.99 * WORST or _guesses(head, labelled):
        warnings.warn(
            "the embeddings do not predict these labels: every answer is close to a guess "
            f"(accuracy on held-out cells {head.info['held_out_accuracy']:.2f})",
            GeneMambaWarning,
            stacklevel=4,
        )
    if folder is not None:
        write_head(head, Path(folder))
    return Classifier(head, None if tuned is None else tuned.model, terms)


def _say_if_expression_wins(head: LabelHead) -> None:
    clear = head.info.pop("clear", ())
    if ("expression", "embedding") in clear:
        scores = head.info["candidates"]
        warnings.warn(
            f"expression predicts these labels better than the embedding (macro-F1 "
            f"{scores['expression']:.2f}, {scores['embedding']:.2f} on held-out cells): labels "
            f"come from {'both' if head.reads == 'joined' else head.reads}, but clusters of the "
            "embedding may merge these types",
            GeneMambaWarning,
            stacklevel=5,
        )


def terms_with(loaded: GeneMamba) -> TermHead | None:
    """Read the classifier that comes with a checkpoint, if there is one."""
    folder = Path(loaded.provenance.get("path", "")) / OWN
    return read_terms(folder, _vectors_of) if has_terms(folder) else None


def _vectors_of(name: str) -> np.ndarray:
    """Return the vectors of all cells of a map."""
    index = maps.load(name).index
    return index.vectors(np.arange(index.n))


def read_terms_of(loaded: GeneMamba) -> TermHead:
    """Read the classifier that comes with a checkpoint."""
    if (head := terms_with(loaded)) is None:
        old = is_head(Path(loaded.provenance.get("path", "")) / OWN)
        raise InputError(
            "the classifier of this checkpoint is of an earlier version of genemamba"
            if old
            else "this checkpoint comes without a classifier",
            "give a labelled reference: gm.tl.annotate(adata, reference=…, label_key=…)",
        )
    return head


def read_classifier(reference: str | PathLike[str], loaded: GeneMamba) -> Classifier:
    """Read the result of an earlier annotation."""
    folder = Path(reference)
    if not is_head(folder):
        raise InputError(
            f"reference={str(reference)!r} is neither an AnnData nor the folder of an annotation",
            "read the file first: reference = anndata.read_h5ad(path)",
        )
    head = read_head(folder)
    made, this = head.info.get("model_sha256"), known_by(loaded)
    if made != this:
        raise InputError(
            f"the annotation in {folder} was fitted on embeddings of another model "
            f"({str(made)[:8]}) than this one ({this[:8]})",
            "give model= the one it was fitted with",
        )
    terms = terms_with(loaded)
    if terms is None and head.novelty is not None and head.novelty.with_traits:
        raise CheckpointError(
            f"the annotation in {folder} tells unknown types with the classifier that came with "
            f"the checkpoint, but {OWN} is missing there",
            "fetch the checkpoint again, or give the labelled cells as reference again",
        )
    if head.kind != "finetune":
        return Classifier(head, None, terms)
    from genemamba.train.label_model import LabelModel

    return Classifier(head, LabelModel.load(folder), terms)


def _tune(
    source: Embedding,
    labelled: Labelled,
    recipe: Mapping[str, Any] | None,
    folder: str | PathLike[str] | None,
    rng: Rng,
) -> FineTuned:
    from genemamba.train.finetune import FineTuneRecipe, finetune

    known = [field.name for field in fields(FineTuneRecipe) if field.name != "seed"]
    if unknown := set(recipe or {}) - set(known):
        raise InputError(
            f"recipe has unknown settings: {', '.join(map(repr, sorted(unknown)))}",
            f"use some of {', '.join(known)}",
        )
    return finetune(
        source.loaded,
        source.tokens.ranked.take(labelled.cells),
        labelled.codes,
        labelled.classes,
        groups=labelled.groups,
        recipe=FineTuneRecipe(**{**(recipe or {}), "seed": seed_of(rng)}),
        folder=None if folder is None else Path(folder),
        runtime=source.runtime,
    )


def _warn_of_few(labelled: Labelled) -> None:
    counts = pd.Series(labelled.names).value_counts()
    if few := counts[counts < FEW].index.tolist():
        warnings.warn(
            f"fewer than {FEW} labelled cells: {', '.join(few)}; predictions of "
            f"{'it' if len(few) == 1 else 'them'} are unreliable",
            GeneMambaWarning,
            stacklevel=5,
        )


def _guesses(head: LabelHead, labelled: Labelled) -> bool:
    """Whether held-out cells are labelled no better than by always naming the largest class."""
    largest = np.unique(labelled.codes, return_counts=True)[1].max() / len(labelled.codes)
    error = np.sqrt(largest * (1 - largest) / head.info["held_out_cells"])
    even = head.info["held_out_macro_f1"] < 1.2 / len(head.classes)
    return bool(even and head.info["held_out_accuracy"] < largest + 2 * error)
