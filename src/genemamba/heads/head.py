"""A classifier with all that makes its answers honest: calibration, prediction sets, "unknown"."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import f1_score

from genemamba.heads.calibration import (
    fit_temperature,
    prediction_sets,
    probabilities,
    set_threshold,
)
from genemamba.heads.folds import held_out_folds
from genemamba.heads.knn import Reference
from genemamba.heads.probe import STRENGTHS, Probe

Kind = Literal["knn", "probe", "finetune"]
FAMILIAR = 0.95
"""Share of held-out reference cells that must not be called unknown."""


@dataclass(frozen=True, eq=False)
class LabelHead:
    """Names cells from their embedding, says how sure it is, and when it does not know.

    Parameters
    ----------
    kind
        How logits are made; those of ``"finetune"`` come from a model of its own.
    classes
        Names of the classes.
    reference
        What a cell is compared with to be known; its labelled cells are the voters of ``"knn"``.
    probe
        The classifier of ``"probe"``.
    temperature
        Divides the logits.
    true_probability
        What each held-out cell gave to its true class: the ground of prediction sets.
    farthest
        Mean distance to the nearest reference cells above which a cell is unknown.
    info
        Numbers and strings about the fit, for the reader.
    """

    kind: Kind
    classes: tuple[str, ...]
    reference: Reference
    probe: Probe | None
    temperature: float
    true_probability: np.ndarray
    farthest: float
    info: dict[str, Any] = field(default_factory=dict)

    def proba(self, X: np.ndarray, logits: np.ndarray | None = None) -> np.ndarray:
        """Return calibrated probabilities ``(n_cells, n_classes)``; NaN where `X` is NaN.

        `logits` are needed for ``"finetune"``, one row a cell.
        """
        out = np.full((len(X), len(self.classes)), np.nan, dtype=np.float32)
        there = np.isfinite(X).all(axis=1)
        if there.any():
            raw = self._logits(X[there]) if logits is None else logits[there]
            out[there] = probabilities(raw, self.temperature)
        return out

    def distance(self, X: np.ndarray) -> np.ndarray:
        """Return the mean distance to the nearest reference cells; NaN where `X` is NaN."""
        out = np.full(len(X), np.nan, dtype=np.float32)
        there = np.isfinite(X).all(axis=1)
        if there.any():
            out[there] = self.reference.mean_distance(X[there])
        return out

    def sets(self, proba: np.ndarray, coverage: float) -> np.ndarray:
        """Return bool ``(n_cells, n_classes)``: prediction sets of this coverage."""
        return prediction_sets(proba, set_threshold(self.true_probability, coverage))

    def _logits(self, X: np.ndarray) -> np.ndarray:
        if self.kind == "knn":
            return self.reference.logits(X)
        assert self.probe is not None
        return self.probe.logits(X)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Logits of cells by classifiers that had not seen them.

    Parameters
    ----------
    cells
        Indices into the reference.
    logits
        ``(len(cells), n_classes)``; ``-inf`` for a class the classifier had not seen.
    """

    cells: np.ndarray
    logits: np.ndarray

    def judged(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits and classes of the cells whose class the classifier knew."""
        known = np.isfinite(self.logits[np.arange(len(self.cells)), y[self.cells]])
        return self.logits[known], y[self.cells[known]]


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
    """Fit a classifier, and everything else on cells that it had not seen.

    Parameters
    ----------
    X
        ``(n_cells, n_features)`` float32 embeddings, finite.
    y
        ``(n_cells,)`` codes into `classes`.
    classes
        Names.
    kind
        ``"knn"``, ``"probe"`` or, with `held_out`, ``"finetune"``.
    groups
        Donor or batch of each cell: these are held out as wholes.
    rng
        Draws the folds where there are no groups.
    held_out
        Logits of held-out cells by a classifier that was fitted elsewhere.
    """
    folds = list(held_out_folds(y, groups, rng))
    probe = None
    if kind == "probe":
        strength, held_out = _choose_strength(X, y, len(classes), folds)
        probe = Probe.fit(X, y, len(classes), strength=strength)
    elif kind == "knn":
        logits = [Reference(X[a], y[a], len(classes)).logits(X[b]) for a, b in folds]
        held_out = HeldOut(np.concatenate([b for _, b in folds]), np.concatenate(logits))
    assert held_out is not None
    logits_, truth = held_out.judged(y)
    temperature = fit_temperature(logits_, truth)
    proba = probabilities(logits_, temperature)
    away = [Reference(X[a], y[a], len(classes)).mean_distance(X[b]) for a, b in folds]
    info = {
        "cells": len(y),
        "groups": 0 if groups is None else len(np.unique(groups)),
        "held_out_cells": len(truth),
        "held_out_accuracy": float((proba.argmax(1) == truth).mean()),
        "held_out_macro_f1": float(f1_score(truth, proba.argmax(1), average="macro")),
    }
    return LabelHead(
        kind=kind,
        classes=classes,
        reference=Reference(X, y, len(classes)),
        probe=probe,
        temperature=temperature,
        true_probability=np.sort(proba[np.arange(len(truth)), truth]),
        farthest=float(np.quantile(np.concatenate(away), FAMILIAR)),
        info=info | ({"strength": strength} if kind == "probe" else {}),
    )


def _choose_strength(
    X: np.ndarray, y: np.ndarray, n_classes: int, folds: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[float, HeldOut]:
    """Take the penalty under which held-out cells are most likely, once calibrated."""
    cells = np.concatenate([b for _, b in folds])
    best: tuple[float, float, HeldOut] | None = None
    for strength in STRENGTHS:
        probes = [Probe.fit(X[a], y[a], n_classes, strength=strength) for a, _ in folds]
        logits = [p.logits(X[b]) for p, (_, b) in zip(probes, folds, strict=True)]
        held_out = HeldOut(cells, np.concatenate(logits))
        known, truth = held_out.judged(y)
        scaled = known / fit_temperature(known, truth)
        loss = -float(log_softmax(scaled, axis=1)[np.arange(len(truth)), truth].mean())
        if best is None or loss < best[0]:
            best = loss, strength, held_out
    assert best is not None
    return best[1], best[2]
