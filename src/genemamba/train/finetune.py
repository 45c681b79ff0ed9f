"""Fine-tuning on labelled cells: the head first, then the model under it; stopped early.

The head starts as a logistic regression on the states of the frozen body and learns on before any
other weight moves: one drawn at random would drag the pretrained states about. Then the body
follows, at a small rate, reading another thinned ranking of each cell in every epoch. After each
epoch the validation cells, whole donors if there are enough, judge; the epoch they like best is
kept, the frozen body and the regression among them. How good that is, other cells say, which were
set apart before.
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
    """A trained model and what is known of it.

    Attributes
    ----------
    model
        The trained model; adapters are merged.
    epoch
        Epoch of tuning that was kept; 0 if the frozen body under its trained head was best. With
        ``tune="head"`` the epoch of the head.
    history
        One row an epoch: ``part`` ("regression", "head" or what was tuned), ``epoch``, ``loss`` of
        training, ``validation_loss``, ``macro_f1`` and ``accuracy`` on the validation cells.
    validation
        Sorted indices of the validation cells; no gradient has seen them, but they chose the epoch.
    validation_logits
        Their logits, ``(len(validation), K)`` float32.
    apart
        Sorted indices of cells that neither trained nor chose.
    apart_logits
        Their logits, to calibrate on and to report.
    """

    model: LabelModel
    epoch: int
    history: list[dict[str, Any]]
    validation: np.ndarray
    validation_logits: np.ndarray
    apart: np.ndarray
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
    """Teach a model the labels of some cells.

    Errors on cells of a class of n cells weigh as 1/√n: by their number alone the commonest types
    would decide, at equal weight for all classes a type of five cells would.

    Parameters
    ----------
    model
        Where to start; it is copied, never changed.
    ranked
        The labelled cells. Those without tokens are left out.
    labels
        ``(n_cells,)`` int, positions in `classes`.
    classes
        Names of the classes; each needs a cell with tokens. One with a single cell is trained on,
        but no validation cell speaks for it.
    groups
        ``(n_cells,)`` donors or batches, integers or text. Of three or more, whole ones are held
        out for validation (see :func:`genemamba.train.split.hold_out`).
    recipe
        Settings; the defaults if ``None``.
    folder
        Where to keep the state, so that the same call goes on after it was killed, with the same
        result to the last bit (same machine, same threads), and returns at once when it is done.
        Then the folder is a checkpoint as well, for ``gm.models.load``.
    runtime
        Where to run and how precisely; chosen by itself if ``None``.

    Raises
    ------
    InputError
        If labels, groups or classes cannot be used, or `folder` belongs to another call.
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
            "no class has three cells: one each to train on, to choose by and to judge by",
            "label more cells, or use method='knn'",
        )
    mark = fingerprint(model, ranked, labels, groups, classes, recipe)
    kept = None if folder is None else TuningFolder(folder, mark)
    if kept is not None and (done := kept.finished()) is not None:
        return FineTuned(**done)
    run = Tuning(model, classes, ranked, labels, training, validation, recipe, runtime)
    run.run(kept)
    judged = run.net.logits(ranked.take(apart), runtime=runtime)
    held = (validation, run.best_logits(), apart, judged)
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
    """Refuse what cannot be trained on; return labels as int64 and groups as codes."""
    if model.vocab is None:
        raise InputError("the model has no vocabulary", "load one with gm.models.load")
    if len(ranked.tokens) and ranked.tokens.max() >= len(model.vocab):
        raise InputError("tokens are not of this model", "rank with the model's own vocabulary")
    labels = np.asarray(labels)
    if labels.shape != (ranked.n_cells,):
        raise InputError(f"labels have shape {labels.shape}", "give one for each cell")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise InputError("labels hold NaN", "drop cells without a label")
    if labels.dtype.kind not in "iu":
        raise InputError(f"labels are {labels.dtype}", "give positions in classes, as integers")
    if len(classes) < 2:
        raise InputError("there is one class only", "label cells of at least two types")
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
    return labels.astype(np.int64), None if groups is None else _codes(groups, ranked.n_cells)


def _codes(groups: np.ndarray, n_cells: int) -> np.ndarray:
    groups = np.asarray(groups)
    if groups.shape != (n_cells,):
        raise InputError(f"groups have shape {groups.shape}", "give one for each cell")
    if groups.dtype.kind == "f" and np.isnan(groups).any():
        raise InputError("groups hold NaN", "name the donor or batch of every cell")
    return np.unique(groups, return_inverse=True)[1]
