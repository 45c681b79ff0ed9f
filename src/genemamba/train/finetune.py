"""Fine-tuning on labelled cells: the head first, then the model as well, with early stopping.

The head starts as a logistic regression on the states of the frozen body and is trained before any
other weight: a randomly initialised head would disturb the pretrained states. Then the body is
trained too, at a small rate, on another thinned ranking of each cell in every epoch. Validation
cells, whole donors if there are enough, choose the best epoch; the regression and the frozen body
count as epochs. How good the result is, cells report that were set apart before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.network.runtime import Runtime, choose_runtime
from genemamba.tokens import Ranked
from genemamba.train.label_model import LabelModel
from genemamba.train.split import hold_out, set_apart
from genemamba.train.tuning import FineTuneRecipe, Tuning
from genemamba.train.tuning_folder import TuningFolder, fingerprint

__all__ = ["FineTuneRecipe", "FineTuned", "finetune"]


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A trained model and how it was trained."""

    model: LabelModel
    """Adapters are merged."""
    epoch: int
    """Epoch that was kept; 0 if the frozen body was best. Of the head with ``tune="head"``."""
    history: list[dict[str, Any]]
    """One row per epoch: ``part`` ("regression", "head" or what was tuned), training ``loss``, and
    ``validation_loss``, ``macro_f1`` and ``accuracy`` on the validation cells."""
    validation: np.ndarray
    """Sorted indices of the validation cells, which chose the epoch."""
    validation_logits: np.ndarray
    """``(len(validation), K)`` float32."""
    apart: np.ndarray
    """Sorted indices of cells that neither trained nor chose the epoch."""
    apart_logits: np.ndarray

    def logits(self, ranked: Ranked) -> np.ndarray:
        """Return logits, ``(n_cells, K)`` float32; NaN for cells without tokens."""
        return self.model.logits(ranked)

    def embed(self, ranked: Ranked) -> np.ndarray:
        """Return label-tuned states, ``(n_cells, 2 d_model)``; NaN for cells without tokens."""
        return self.model.embed(ranked)


def finetune(
    model: GeneMamba,
    ranked: Ranked,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    groups: np.ndarray | None = None,
    recipe: FineTuneRecipe | None = None,
    folder: Path | None = None,
    runtime: Runtime | None = None,
) -> FineTuned:
    """Fine-tune a model on labelled cells.

    Errors on cells of a class of n cells are weighted by 1/√n: unweighted, the most common types
    would dominate; with equal weight per class, a type of five cells would.

    Parameters
    ----------
    labels
        ``(n_cells,)`` int, positions in `classes`; cells without tokens are ignored.
    classes
        Names of the classes. One with a single cell is trained but not validated.
    groups
        ``(n_cells,)`` donors or batches. With three or more, whole groups are held out (see
        :func:`genemamba.train.split.hold_out`).
    folder
        Where to save the state, so that the same call resumes after an interruption, with a
        bit-identical result (same machine and threads), and returns a finished result at once.
        A finished folder is also a checkpoint for ``gm.models.load``.

    Raises
    ------
    InputError
        If labels, groups or classes are invalid, or `folder` belongs to another call.
    FloatingPointError
        If training diverges.
    """
    recipe = recipe or FineTuneRecipe()
    runtime = runtime or choose_runtime()
    labels, groups = _checked(model, ranked, labels, classes, groups)
    usable = np.flatnonzero(ranked.lengths)
    own = None if groups is None else groups[usable]
    share, seed = recipe.validation_fraction, recipe.seed
    rest, apart = (usable[part] for part in set_apart(labels[usable], own, share, seed))
    own = None if groups is None else groups[rest]
    training, validation = (rest[part] for part in hold_out(labels[rest], own, share, seed))
    if not len(validation) or not len(apart):
        raise InputError(
            "no class has three cells: one each for training, validation and testing",
            "label more cells, or use method='knn'",
        )
    mark = fingerprint(model, ranked, labels, groups, classes, recipe)
    kept = None if folder is None else TuningFolder(folder, mark)
    if kept is not None and (done := kept.finished()) is not None:
        return FineTuned(**done)
    run = Tuning(model, classes, ranked, labels, training, validation, recipe, runtime)
    run.run(kept)
    judged = run.net.logits(ranked.take(apart), runtime=runtime)
    held = (validation, run.best["logits"].numpy(), apart, judged)
    tuned = FineTuned(run.net, run.best["epoch"], run.history, *held)
    if kept is not None:
        kept.finish(tuned.model, tuned.epoch, tuned.history, held)
    return tuned


def _checked(
    model: GeneMamba,
    ranked: Ranked,
    labels: np.ndarray,
    classes: Sequence[str],
    groups: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Check the input; return labels as int64 and groups as codes."""
    if model.vocab is None:
        raise InputError("the model has no vocabulary", "load one with gm.models.load")
    if len(ranked.tokens) and ranked.tokens.max() >= len(model.vocab):
        raise InputError("tokens are from another model", "rank with the model's own vocabulary")
    labels = np.asarray(labels)
    if labels.shape != (ranked.n_cells,):
        raise InputError(f"labels have shape {labels.shape}", "give one for each cell")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise InputError("labels hold NaN", "drop cells without a label")
    if labels.dtype.kind not in "iu":
        raise InputError(f"labels are {labels.dtype}", "give positions in classes, as integers")
    if len(classes) < 2:
        raise InputError("there is only one class", "label cells of at least two types")
    if len(set(map(str, classes))) < len(classes):
        raise InputError("class names are repeated", "give each class its own name")
    if labels.size and (labels.min() < 0 or labels.max() >= len(classes)):
        raise InputError(
            f"labels reach from {labels.min()} to {labels.max()}",
            f"give positions in classes, 0 to {len(classes) - 1}",
        )
    if not ranked.lengths.any():
        raise InputError("no cell has a token", "check that the genes are those of the model")
    counts = np.bincount(labels[ranked.lengths > 0], minlength=len(classes))
    if not counts.all():
        name = list(classes)[int(np.argmin(counts))]
        raise InputError(f"class {name!r} has no cell with tokens", "drop it from classes")
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != (ranked.n_cells,):
            raise InputError(f"groups have shape {groups.shape}", "give one for each cell")
        if groups.dtype.kind == "f" and np.isnan(groups).any():
            raise InputError("groups hold NaN", "name the donor or batch of every cell")
        groups = np.unique(groups, return_inverse=True)[1]
    return labels.astype(np.int64), groups
