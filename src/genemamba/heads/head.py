"""A classifier with calibration, prediction sets and novelty detection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import f1_score

from genemamba.errors import InputError
from genemamba.heads.calibration import (
    fit_temperature,
    prediction_sets,
    probabilities,
)
from genemamba.heads.folds import held_out_folds
from genemamba.heads.knn import NEAREST, VOTERS, Reference
from genemamba.heads.probe import ROUGH, STRENGTHS, Probe, fit_probes

Kind = Literal["knn", "probe", "finetune"]
Judged = tuple[np.ndarray, np.ndarray, np.ndarray]
FAMILIAR = 0.95
"""Fraction of held-out reference cells that must not be called unknown."""
FEW, SMALL = 1000, 2000
"""Labelled cells up to which more folds, each with fewer cells, are worth the time."""


@dataclass(frozen=True, eq=False)
class LabelHead:
    """A classifier with calibrated confidence and novelty detection."""

    kind: Kind
    """How logits are computed; those of ``"finetune"`` come from a fine-tuned model."""
    classes: tuple[str, ...]
    reference: Reference
    """Reference cells for novelty detection; the labelled ones vote in ``"knn"``."""
    probe: Probe | None
    """The classifier of ``"probe"``."""
    temperature: float
    scores: tuple[np.ndarray, ...]
    """For prediction sets: for each fold, the probability of the true class of its cells when held
    out; in one piece if one classifier judges all cells."""
    farthest: float
    """Mean distance to the nearest reference cells above which a cell is unknown."""
    info: dict[str, Any] = field(default_factory=dict)
    """Statistics of the fit."""
    fold: np.ndarray | None = None
    """The fold of each reference cell, for ``"knn"``."""
    fold_probes: tuple[Probe, ...] = ()
    """The classifier that had not seen the fold, for each fold, for ``"probe"``."""

    def proba(self, X: np.ndarray, logits: np.ndarray | None = None) -> np.ndarray:
        """Return calibrated probabilities ``(n_cells, n_classes)``; NaN where `X` is NaN.

        `logits`, one row per cell, are needed for ``"finetune"``.
        """
        out = np.full((len(X), len(self.classes)), np.nan, dtype=np.float32)
        known = np.isfinite(X).all(axis=1)
        if known.any():
            raw = self._logits(X[known]) if logits is None else logits[known]
            out[known] = probabilities(raw, self.temperature)
        return out

    def distance(self, X: np.ndarray) -> np.ndarray:
        """Return the mean distance to the nearest reference cells; NaN where `X` is NaN."""
        out = np.full(len(X), np.nan, dtype=np.float32)
        known = np.isfinite(X).all(axis=1)
        if known.any():
            out[known] = self.reference.mean_distance(X[known])
        return out

    def sets(self, X: np.ndarray, proba: np.ndarray, coverage: float) -> np.ndarray:
        """Return prediction sets, bool ``(n_cells, n_classes)``, empty for NaN rows.

        The most probable class is always included.
        """
        known = np.flatnonzero(np.isfinite(proba).all(axis=1))
        sets = np.zeros(proba.shape, dtype=bool)
        probas = self._fold_probas(X[known], proba[known])
        sets[known] = prediction_sets(probas, self.scores, coverage)
        sets[known, proba[known].argmax(axis=1)] = True
        return sets

    def _fold_probas(self, X: np.ndarray, proba: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the probabilities of the classifier of each fold."""
        if self.fold is not None:
            found = self.reference.search(X, 2 * VOTERS)
            for k, voters in enumerate(self.reference.voters(self.fold)):
                near = self.reference.without(X, found, self.fold, np.full(len(X), k))
                yield probabilities(self.reference.votes(near, voters), self.temperature)
        elif self.fold_probes:
            for probe in self.fold_probes:
                yield probabilities(probe.logits(X), self.temperature)
        else:
            yield proba

    def _logits(self, X: np.ndarray) -> np.ndarray:
        if self.kind == "knn":
            return self.reference.logits(X)
        assert self.probe is not None
        return self.probe.logits(X)


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


def fit_head(
    X: np.ndarray,
    y: np.ndarray,
    classes: tuple[str, ...],
    kind: Kind,
    *,
    groups: np.ndarray | None = None,
    rng: np.random.Generator,
    held_out: HeldOut | None = None,
) -> LabelHead:
    """Fit a classifier, and calibrate it on cells that it had not seen.

    Penalty and temperature are chosen in separate folds. Prediction sets are based on other folds,
    whose classifiers are kept. The accuracy of a probe is that of outer folds whose cells did not
    help to choose its penalty.

    Parameters
    ----------
    X, y
        ``(n_cells, n_features)`` float32 embeddings, finite, and codes into `classes`.
    kind
        ``"knn"``, ``"probe"`` or, with `held_out`, ``"finetune"``.
    groups
        Donor or batch of each cell; groups are held out as wholes, otherwise `rng` draws folds.
    held_out
        Logits from another classifier, for cells that it was not chosen by.

    Raises
    ------
    InputError
        If no held-out group has a class that occurs in other groups.
    """
    labelled = _Labelled(X, y, len(classes), groups)
    small = len(y) <= SMALL
    folds, cells = labelled.folds(rng, 40 if small else 20)
    fold = np.repeat(np.arange(len(folds)), [len(b) for _, b in folds])[np.argsort(cells)]
    reference = Reference(X, y, len(classes))
    near = reference.without(X, reference.search(X, 2 * VOTERS), fold, fold)
    probe: Probe | None = None
    fold_probes: tuple[Probe, ...] = ()
    info: dict[str, Any] = {}
    if kind == "probe":
        strength, temperature = _choose_strength(labelled, rng, n_folds=5)
        info = {"strength": strength}
        probe = labelled.fit(strength)
        each = fit_probes(X, y, len(classes), [a for a, _ in folds], [(strength,)] * len(folds))
        fold_probes = tuple(probes[0] for probes in each)
        logits = [p.logits(X[b]) for p, (_, b) in zip(fold_probes, folds, strict=True)]
        held_out = HeldOut(cells, np.concatenate(logits))
        judge = _nested(labelled, rng, n_folds=20 if len(y) <= FEW else 10 if small else 5)
    else:
        if kind == "knn":
            voters = reference.voters(fold)[fold]
            held_out = HeldOut(cells, reference.votes(near, voters)[cells])
        assert held_out is not None
        judge = held_out
        temperature = fit_temperature(*_some(held_out.judged(y))[1:])
    # a class in one group only is uninformative about new groups
    every = groups is None
    logits_, truth = _some(judge.judged(y, every=every))[1:]
    named = logits_.argmax(axis=1)
    info |= {
        "cells": len(y),
        "groups": 0 if groups is None else len(np.unique(groups)),
        "held_out_cells": len(truth),
        "held_out_accuracy": float((named == truth).mean()),
        "held_out_macro_f1": float(
            f1_score(truth, named, labels=np.unique(truth), average="macro")
        ),
    }
    judged, logits_, truth = _some(held_out.judged(y, every=every))
    true = probabilities(logits_, temperature)[np.arange(len(truth)), truth]
    crossed = kind != "finetune"
    return LabelHead(
        kind=kind,
        classes=classes,
        reference=reference,
        probe=probe,
        temperature=temperature,
        scores=tuple(np.sort(true[fold[judged] == k]) for k in range(len(folds)))
        if crossed
        else (np.sort(true),),
        farthest=float(np.quantile(np.nanmean(near[1][:, :NEAREST], axis=1), FAMILIAR)),
        info=info,
        fold=fold if kind == "knn" else None,
        fold_probes=fold_probes,
    )


class _Labelled(NamedTuple):
    X: np.ndarray
    y: np.ndarray
    n_classes: int
    groups: np.ndarray | None

    def folds(
        self, rng: np.random.Generator, n_folds: int
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
        """Return the folds, and the held-out cells of all in their order."""
        folds = list(held_out_folds(len(self.y), self.groups, rng, n_folds))
        return folds, np.concatenate([held_out for _, held_out in folds])

    def take(self, cells: np.ndarray) -> _Labelled:
        groups = None if self.groups is None else self.groups[cells]
        return _Labelled(self.X[cells], self.y[cells], self.n_classes, groups)

    def fit(self, strength: float) -> Probe:
        return Probe.fit(self.X, self.y, self.n_classes, strength=strength)


def _choose_strength(
    labelled: _Labelled, rng: np.random.Generator, *, n_folds: int
) -> tuple[float, float]:
    """Return the penalty and temperature with the highest likelihood of held-out cells."""
    X, y, n_classes, _ = labelled
    folds, cells = labelled.folds(rng, n_folds)
    probes = fit_probes(
        X, y, n_classes, [a for a, _ in folds], [STRENGTHS] * len(folds), tolerance=ROUGH
    )
    return _best(X, y, folds, cells, probes)


def _best(
    X: np.ndarray,
    y: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    cells: np.ndarray,
    probes: Sequence[Sequence[Probe]],
) -> tuple[float, float]:
    paths = [[p.logits(X[b]) for p in own] for own, (_, b) in zip(probes, folds, strict=True)]
    best = (np.inf, 0.0, 0.0)
    for strength, logits in zip(STRENGTHS, zip(*paths, strict=True), strict=True):
        known, truth = _some(HeldOut(cells, np.concatenate(logits)).judged(y))[1:]
        temperature = fit_temperature(known, truth)
        scaled = log_softmax(known / temperature, axis=1)
        loss = -float(scaled[np.arange(len(truth)), truth].mean())
        best = min(best, (loss, strength, temperature))
    return best[1:]


def _nested(labelled: _Labelled, rng: np.random.Generator, *, n_folds: int) -> HeldOut:
    """Hold out cells that did not help to choose the penalty of their classifier."""
    X, y, n_classes, _ = labelled
    folds, cells = labelled.folds(rng, n_folds)
    inner = [labelled.take(a).folds(rng, 3) for a, _ in folds]
    training = [a[own] for (a, _), (parts, _) in zip(folds, inner, strict=True) for own, _ in parts]
    paths = iter(
        fit_probes(X, y, n_classes, training, [STRENGTHS] * len(training), tolerance=ROUGH)
    )
    chosen = []
    for (a, _), (parts, held_out) in zip(folds, inner, strict=True):
        own = [next(paths) for _ in parts]
        try:
            chosen.append(_best(X[a], y[a], parts, held_out, own)[0])
        except InputError:  # no cell to choose by: the strongest penalty
            chosen.append(STRENGTHS[0])
    last = fit_probes(X, y, n_classes, [a for a, _ in folds], [(c,) for c in chosen])
    logits = [own[0].logits(X[b]) for own, (_, b) in zip(last, folds, strict=True)]
    return HeldOut(cells, np.concatenate(logits))


def _some(judged: Judged) -> Judged:
    if not len(judged[0]):
        raise InputError(
            "no labelled cell can be held out for calibration: its class is in no other batch, or "
            "has no other cell",
            "leave out batch_key, or label cells of the same type in several batches",
        )
    return judged
