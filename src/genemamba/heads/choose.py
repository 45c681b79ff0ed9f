"""Choose what a classifier reads, and its penalty, on cells that it had not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import f1_score

from genemamba.errors import InputError
from genemamba.heads.calibration import fit_temperature
from genemamba.heads.discriminant import SHRINKAGES, fit_discriminants
from genemamba.heads.folds import held_out_folds
from genemamba.heads.probe import ROUGH, STRENGTHS, Probe, fit_probes

Judged = tuple[np.ndarray, np.ndarray, np.ndarray]
Fold = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Logits of cells from classifiers that had not seen them."""

    cells: np.ndarray
    """Indices into the reference."""
    logits: np.ndarray
    """``(len(cells), n_classes)``; ``-inf`` for a class the classifier had not seen."""

    def judged(self, y: np.ndarray, *, every: bool = False) -> Judged:
        """Return the cells that can be evaluated, their logits and classes.

        Left out are cells of classifiers with one class and, unless `every`, cells of a class that
        their classifier had not seen.
        """
        seen = np.isfinite(self.logits)
        fair = seen.sum(axis=1) > 1
        if not every:
            fair &= seen[np.arange(len(self.cells)), y[self.cells]]
        return self.cells[fair], self.logits[fair], y[self.cells[fair]]


class Labelled(NamedTuple):
    """What a classifier reads of labelled cells, and their classes."""

    X: np.ndarray
    y: np.ndarray
    n_classes: int
    groups: np.ndarray | None
    scaled: int | None = None
    """How many of the features, the first ones, are standardised; None for all."""
    views: int | None = None
    """How many of the features, the first ones, are one view of a cell; the others are another, and
    discriminants of both are computed in place of a regression."""

    @property
    def strengths(self) -> tuple[float, ...]:
        """What to choose from: inverse penalties, or shrinkages."""
        return STRENGTHS if self.views is None else SHRINKAGES

    def folds(self, rng: np.random.Generator, n_folds: int) -> tuple[list[Fold], np.ndarray]:
        """Return the folds, and the held-out cells of all in their order."""
        folds = list(held_out_folds(len(self.y), self.groups, rng, n_folds))
        return folds, np.concatenate([held_out for _, held_out in folds])

    def take(self, cells: np.ndarray) -> Labelled:
        """Return some of the cells."""
        groups = None if self.groups is None else self.groups[cells]
        return self._replace(X=self.X[cells], y=self.y[cells], groups=groups)

    def fit(
        self,
        training: Sequence[np.ndarray],
        strengths: Sequence[Sequence[float]],
        *,
        rough: bool = False,
    ) -> Sequence[Sequence[Probe]]:
        """Fit a probe to each set of training cells, for each of its strengths."""
        if self.views is not None:
            return fit_discriminants(
                self.X, self.y, self.n_classes, training, strengths, first=self.views
            )
        tolerance = {"tolerance": ROUGH} if rough else {}
        return fit_probes(
            self.X, self.y, self.n_classes, training, strengths, scaled=self.scaled, **tolerance
        )


def choose_strength(
    labelled: Labelled, rng: np.random.Generator, *, n_folds: int
) -> tuple[float, float]:
    """Return the penalty and temperature with the highest likelihood of held-out cells."""
    folds, cells = labelled.folds(rng, n_folds)
    probes = labelled.fit([a for a, _ in folds], [labelled.strengths] * len(folds), rough=True)
    return _best(labelled, folds, cells, probes)


def nested(labelled: Labelled, rng: np.random.Generator, *, n_folds: int) -> HeldOut:
    """Hold out cells that did not help to choose the penalty of their classifier."""
    folds, cells = labelled.folds(rng, n_folds)
    inner = [labelled.take(a).folds(rng, 3) for a, _ in folds]
    training = [a[own] for (a, _), (parts, _) in zip(folds, inner, strict=True) for own, _ in parts]
    paths = iter(labelled.fit(training, [labelled.strengths] * len(training), rough=True))
    chosen = []
    for (a, _), (parts, held_out) in zip(folds, inner, strict=True):
        own = [next(paths) for _ in parts]
        try:
            chosen.append(_best(labelled.take(a), parts, held_out, own)[0])
        except InputError:  # no cell to choose by
            chosen.append(labelled.strengths[0])
    last = labelled.fit([a for a, _ in folds], [(c,) for c in chosen])
    logits = [own[0].logits(labelled.X[b]) for own, (_, b) in zip(last, folds, strict=True)]
    return HeldOut(cells, np.concatenate(logits))


class Choice(NamedTuple):
    """The candidate that is used, and what each scored on held-out cells."""

    name: str
    macro_f1: dict[str, float]
    clear: tuple[tuple[str, str], ...]
    """Pairs of candidates of which the first is better by more than the spread over folds."""
    held_out: HeldOut
    """Each fold by the candidate that the other folds would choose."""


def choose(found: Mapping[str, HeldOut], y: np.ndarray, fold: np.ndarray, *, every: bool) -> Choice:
    """Choose the classifier with the highest macro-F1 of held-out cells, in the mean over folds.

    Parameters
    ----------
    found
        Logits of the same cells, in one order, by each candidate.
    fold
        The fold of each of these cells.
    every
        Also evaluate cells of classes that their classifier had not seen.
    """
    names = list(found)
    table = np.array([_macro_f1_by_fold(own, y, fold, every) for own in found.values()])
    judged = np.flatnonzero(np.isfinite(table[0]))
    one = next(iter(found.values()))
    logits = np.empty_like(one.logits)
    for k in range(table.shape[1]):
        others = judged[judged != k] if len(judged) > 1 else judged
        logits[fold == k] = found[names[_best_row(table[:, others])]].logits[fold == k]
    table = table[:, judged]
    clear = tuple(
        (a, b) for a, i in zip(names, table, strict=True) for b, j in zip(names, table, strict=True)
        if _clearly(i, j)
    )  # fmt: skip
    mean = dict(zip(names, map(float, table.mean(axis=1)), strict=True)) if len(judged) else {}
    return Choice(names[_best_row(table)], mean, clear, HeldOut(one.cells, logits))


def _best_row(table: np.ndarray) -> int:
    """Return the row with the highest mean; the first, if there is nothing to tell."""
    return int(table.mean(axis=1).argmax()) if table.size else 0


def _macro_f1_by_fold(own: HeldOut, y: np.ndarray, fold: np.ndarray, every: bool) -> np.ndarray:
    scores = np.full(fold.max() + 1, np.nan)
    for k in range(len(scores)):
        part = HeldOut(own.cells[fold == k], own.logits[fold == k])
        _, logits, truth = part.judged(y, every=every)
        if len(truth):
            named, classes = logits.argmax(axis=1), np.unique(truth)
            scores[k] = f1_score(truth, named, labels=classes, average="macro", zero_division=0)
    return scores


def _clearly(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether one is better by more than the spread of the difference over folds."""
    difference = one - other
    return len(difference) > 1 and float(difference.mean()) > float(difference.std(ddof=1))


def _best(
    labelled: Labelled,
    folds: Sequence[Fold],
    cells: np.ndarray,
    probes: Sequence[Sequence[Probe]],
) -> tuple[float, float]:
    X, y = labelled.X, labelled.y
    paths = [[p.logits(X[b]) for p in own] for own, (_, b) in zip(probes, folds, strict=True)]
    best = (np.inf, 0.0, 0.0)
    for strength, logits in zip(labelled.strengths, zip(*paths, strict=True), strict=True):
        known, truth = some(HeldOut(cells, np.concatenate(logits)).judged(y))[1:]
        temperature = fit_temperature(known, truth)
        scaled = log_softmax(known / temperature, axis=1)
        loss = -float(scaled[np.arange(len(truth)), truth].mean())
        best = min(best, (loss, strength, temperature))
    return best[1:]


def some(judged: Judged) -> Judged:
    """Return `judged`, or say that there is no cell to evaluate."""
    if not len(judged[0]):
        raise InputError(
            "no labelled cell can be held out for calibration: its class is in no other batch, or "
            "has no other cell",
            "leave out batch_key, or label cells of the same type in several batches",
        )
    return judged
