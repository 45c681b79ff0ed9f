"""A classifier with calibration, prediction sets and novelty detection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
from sklearn.metrics import f1_score

from genemamba.heads.calibration import fit_temperature, prediction_sets, probabilities
from genemamba.heads.choose import Choice, HeldOut, Labelled, choose, choose_strength, nested, some
from genemamba.heads.components import Components
from genemamba.heads.knn import NEAREST, VOTERS, Neighbours, Reference
from genemamba.heads.novelty import Novelty
from genemamba.heads.probe import Probe
from genemamba.tokens import Measured

Kind = Literal["knn", "probe", "finetune"]
Reads = Literal["embedding", "expression", "joined"]
FAMILIAR = 0.95
"""Fraction of held-out reference cells that must not be called unknown."""
FEW, SMALL = 1000, 2000
"""Labelled cells up to which more folds, each with fewer cells, are worth the time."""
JOINED = 50
"""Components that are joined with an embedding; on unseen sets more of them only added noise."""
MOST_TO_CHOOSE = 6000
"""Labelled cells, drawn at random, that decide among candidates."""


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
    """Mean distance to the nearest reference cells that most held-out cells are within."""
    info: dict[str, Any] = field(default_factory=dict)
    """Statistics of the fit."""
    fold: np.ndarray | None = None
    """The fold of each reference cell, for ``"knn"``."""
    fold_probes: tuple[Probe, ...] = ()
    """The classifier that had not seen the fold, for each fold, for ``"probe"``."""
    reads: Reads = "embedding"
    """What `X` is: the embedding, components of expression, or both side by side."""
    components: Components | None = None
    """How expression becomes components, unless only the embedding is read."""
    measured: Measured | None = None
    """The genes that the reference was read on, if its counts are known."""

    novelty: Novelty | None = None
    """What tells unknown cells; heads of earlier versions have only `farthest`."""

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
        """Return the mean distance of embeddings to the nearest ones of the reference, or NaN."""
        return self.reference.mean_distance(X)

    def unlike(
        self, distance: np.ndarray, proba: np.ndarray, of_traits: np.ndarray | None
    ) -> np.ndarray:
        """Return the fraction of held-out reference cells that are less unlike the reference.

        Parameters
        ----------
        distance, proba
            Of :meth:`distance` and :meth:`proba`.
        of_traits
            ``(n_cells,)`` the distance of their traits to those of the nearest reference cells, if
            the head was fitted with traits.
        """
        if self.novelty is None:
            return np.where(np.isnan(distance), np.nan, distance > self.farthest)
        measures = [distance, 1 - proba.max(axis=1)]
        if self.novelty.with_traits:
            assert of_traits is not None, "the head was fitted with traits"
            measures.insert(1, of_traits)
        return self.novelty.of(np.array(measures), np.nan_to_num(proba).argmax(axis=1))

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


def fit_head(
    X: np.ndarray,
    y: np.ndarray,
    classes: tuple[str, ...],
    kind: Kind | Literal["auto"],
    *,
    groups: np.ndarray | None = None,
    rng: np.random.Generator,
    held_out: HeldOut | None = None,
    components: Components | None = None,
    expressed: np.ndarray | None = None,
    traits: np.ndarray | None = None,
) -> LabelHead:
    """Fit a classifier, and calibrate it on cells that it had not seen.

    Penalty and temperature are chosen in separate folds. Prediction sets are based on other folds,
    whose classifiers are kept. The accuracy of a probe is that of outer folds whose cells did not
    help to choose its penalty, nor, with "auto", what it reads.

    Parameters
    ----------
    X, y
        ``(n_cells, n_features)`` float32 embeddings, finite, and codes into `classes`.
    kind
        ``"knn"``, ``"probe"`` or, with `held_out`, ``"finetune"``. ``"auto"`` chooses among a probe
        of embedding and expression, of either, discriminants of both, and ``"knn"``.
    groups
        Donor or batch of each cell; groups are held out as wholes, otherwise `rng` draws folds.
    held_out
        Logits from another classifier, for cells that it was not chosen by.
    components, expressed
        For ``"auto"``: components of expression, and those of each cell.
    traits
        ``(n_cells, n_traits)``, what the classifier of the checkpoint sees in each cell; tells
        unknown types better than distance alone.

    Raises
    ------
    InputError
        If no held-out group has a class that occurs in other groups.
    """
    n_classes = len(classes)
    reads: Reads = "embedding"
    info: dict[str, Any] = {}
    judge: HeldOut | None = None
    every = groups is None  # a class in one group only is uninformative about new groups
    if kind == "auto":
        spaces = {"embedding": Labelled(X, y, n_classes, groups)}
        if expressed is not None:
            spaces = _spaces(spaces["embedding"], expressed)
        choice = _chosen(spaces, rng, every)
        judge, kind = choice.held_out, "knn" if choice.name == "knn" else "probe"
        info = {"candidates": choice.macro_f1, "clear": choice.clear, "used": choice.name}
        if kind == "probe":
            labelled = spaces[choice.name]
            reads = "joined" if choice.name == "discriminants" else cast(Reads, choice.name)
        else:
            labelled = spaces["embedding"]
    else:
        labelled = Labelled(X, y, n_classes, groups)
    small = len(y) <= SMALL
    folds, cells = labelled.folds(rng, 40 if small else 20)
    fold = np.repeat(np.arange(len(folds)), [len(b) for _, b in folds])[np.argsort(cells)]
    reference = Reference(X, y, n_classes)
    near = reference.without(X, reference.search(X, 2 * VOTERS), fold, fold)
    probe: Probe | None = None
    fold_probes: tuple[Probe, ...] = ()
    if kind == "probe":
        strength, temperature = choose_strength(labelled, rng, n_folds=5)
        info["strength"] = strength
        probe = labelled.fit([np.arange(len(y))], [(strength,)])[0][0]
        each = labelled.fit([a for a, _ in folds], [(strength,)] * len(folds))
        fold_probes = tuple(probes[0] for probes in each)
        logits = [p.logits(labelled.X[b]) for p, (_, b) in zip(fold_probes, folds, strict=True)]
        held_out = HeldOut(cells, np.concatenate(logits))
        judge = judge or nested(labelled, rng, n_folds=20 if len(y) <= FEW else 10 if small else 5)
    else:
        if kind == "knn":
            voters = reference.voters(fold)[fold]
            held_out = HeldOut(cells, reference.votes(near, voters)[cells])
        assert held_out is not None
        judge = judge or held_out
        temperature = fit_temperature(*some(held_out.judged(y))[1:])
    info |= {
        "cells": len(y),
        "groups": 0 if groups is None else len(np.unique(groups)),
        **_stats(*some(judge.judged(y, every=every))[1:]),
    }
    judged, logits_, truth = some(held_out.judged(y, every=every))
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
        reads=reads,
        components=None if reads == "embedding" else components,
        novelty=_novelty(held_out, temperature, fold, near, traits),
    )


def _novelty(
    held_out: HeldOut,
    temperature: float,
    fold: np.ndarray,
    near: Neighbours,
    traits: np.ndarray | None,
) -> Novelty:
    """Keep how unlike the others the held-out cells are: far, of other traits, doubtful."""
    proba = probabilities(held_out.logits, temperature)
    measures = [np.nanmean(near[1][:, :NEAREST], axis=1)[held_out.cells], 1 - proba.max(axis=1)]
    if traits is not None:
        reference = Reference.unlabelled(traits)
        found = reference.without(traits, reference.search(traits, 2 * VOTERS), fold, fold)
        measures.insert(1, np.nanmean(found[1][:, :NEAREST], axis=1)[held_out.cells])
    return Novelty(np.array(measures, dtype=np.float32), proba.argmax(axis=1).astype(np.int32))


def _spaces(embedded: Labelled, expressed: np.ndarray) -> dict[str, Labelled]:
    """Return what a probe may read, by name."""
    both = np.hstack([embedded.X, expressed[:, :JOINED]])
    return {
        "embedding": embedded,
        "joined": embedded._replace(X=both),
        "expression": embedded._replace(X=expressed, scaled=0),
        "discriminants": embedded._replace(X=both, views=embedded.X.shape[1]),
    }


def _chosen(spaces: dict[str, Labelled], rng: np.random.Generator, every: bool) -> Choice:
    """Compare the classifier of each space, and the vote of neighbours, on the same folds."""
    seed = int(rng.integers(2**31))
    embedded = spaces["embedding"]
    part = np.arange(len(embedded.y))
    if len(part) > MOST_TO_CHOOSE:
        part = np.sort(rng.choice(part, MOST_TO_CHOOSE, replace=False))
    found, n_folds = {}, 10 if len(part) <= FEW else 5
    for name, labelled in spaces.items():
        found[name] = nested(labelled.take(part), np.random.default_rng(seed), n_folds=n_folds)
    embedded = embedded.take(part)
    folds, cells = embedded.folds(np.random.default_rng(seed), n_folds)
    fold = np.repeat(np.arange(len(folds)), [len(b) for _, b in folds])
    own = np.empty_like(fold)
    own[cells] = fold
    reference = Reference(embedded.X, embedded.y, embedded.n_classes)
    near = reference.without(embedded.X, reference.search(embedded.X, 2 * VOTERS), own, own)
    votes = reference.votes(near, reference.voters(own)[own])[cells]
    found["knn"] = HeldOut(cells, votes)
    choice = choose(found, embedded.y, fold, every=every)
    held_out = HeldOut(part[choice.held_out.cells], choice.held_out.logits)
    return choice._replace(held_out=held_out)


def _stats(logits: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    named, classes = logits.argmax(axis=1), np.unique(truth)
    return {
        "held_out_cells": len(truth),
        "held_out_accuracy": float((named == truth).mean()),
        "held_out_macro_f1": float(f1_score(truth, named, labels=classes, average="macro")),
    }
