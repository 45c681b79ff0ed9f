"""Perturbations of groups of cells, each set against the same edit of other genes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from genemamba.tl._edited import MEASURES, Editor, Job
from genemamba.tl._shift import Direction, Profile, control_p, fdr
from genemamba.tokens import FIRST_GENE

if TYPE_CHECKING:
    from genemamba.tokens import Vocabulary

Genes = tuple[int, ...]


class Perturbation(NamedTuple):
    """Genes edited together."""

    name: str
    tokens: Genes


@dataclass(frozen=True, eq=False)
class State:
    """A group of cells; the one without a name holds those of no state."""

    name: str | None
    cells: np.ndarray
    edited: bool


@dataclass(frozen=True, eq=False)
class Run:
    """All that one call of :func:`genemamba.tl.perturb` edits and reads.

    Parameters
    ----------
    editor
        The cells, and what is done to them.
    asked
        The perturbations.
    states
        The groups of cells, disjoint.
    target
        Name of the state to measure the way to, if any.
    known
        Tokens of the genes measured: the candidates for controls.
    n_controls, control_cells, seed
        How many controls for each perturbation and state, in how many cells, and their draw.
    """

    editor: Editor
    asked: Sequence[Perturbation]
    states: Sequence[State]
    target: str | None
    known: np.ndarray
    n_controls: int
    control_cells: int
    seed: int

    def all(self) -> Found:
        """Edit, read and measure."""
        found = Found(self.asked, self.states, self.target is not None)
        edited = np.concatenate([s.cells for s in self.states if s.edited])
        there = edited[np.isfinite(self.before[edited]).all(axis=1)]
        found.shifts = np.full((2, len(self.before), len(self.asked)), np.nan, dtype=np.float32)
        found.shifts[:, there] = 0
        for s, state in enumerate(self.states):
            found.sizes[s] = np.isin(state.cells, there).sum()
        for job, values in self.editor.measure(self.before, self._jobs()):
            p, s = job.key
            found.shifts[:, job.cells, p] = values[:, :2].T
            found.effects[p, s] = values
        controls = self._controls()
        found.controls = controls
        for job, values in self.editor.measure(self.before, self._control_jobs(controls)):
            found.control_effects[job.key] = values
        return found

    @cached_property
    def before(self) -> np.ndarray:
        """Vectors of the unedited cells, ``(n_cells, d)``."""
        return self.editor.read(self.editor.unedited())

    @cached_property
    def ways(self) -> list[Direction | None]:
        """For each state the way to the target; for the target, from all other states."""
        if self.target is None:
            return [None] * len(self.states)
        cells = {s.name: s.cells for s in self.states if s.name is not None}
        others = np.concatenate([c for name, c in cells.items() if name != self.target])
        to = self._centroid(cells[self.target])
        return [
            None if s.name is None
            else Direction(self._centroid(others if s.name == self.target else s.cells), to)
            for s in self.states
        ]  # fmt: skip

    def _centroid(self, cells: np.ndarray) -> np.ndarray:
        return np.nanmean(self.before[cells], axis=0)

    def _jobs(self) -> Iterator[Job]:
        for p, perturbation in enumerate(self.asked):
            for s, state in enumerate(self.states):
                if state.edited:
                    yield self.editor.job((p, s), perturbation.tokens, state.cells, self.ways[s])

    def _controls(self) -> dict[tuple[int, int], list[Genes]]:
        """Draw the controls of every perturbation and state."""
        drawn: dict[tuple[int, int], list[Genes]] = {}
        unedited = self.editor.unedited()
        for s, state in enumerate(self.states):
            if not state.edited or state.name is None or not self.n_controls:
                continue
            cells = unedited.take(state.cells)
            tokens = np.union1d(self.known, [t for p in self.asked for t in p.tokens])
            if self.editor.how == "delete":  # what nobody expresses cannot be deleted
                tokens = np.intersect1d(tokens, cells.tokens)
            profile = Profile.of(cells, tokens)
            for p, perturbation in enumerate(self.asked):
                members = tuple(t for t in perturbation.tokens if t in tokens)
                rng = np.random.default_rng([self.seed, s, *perturbation.tokens])
                drawn[p, s] = profile.like(members, self.n_controls, rng) if members else []
        return drawn

    def _control_jobs(self, controls: dict[tuple[int, int], list[Genes]]) -> Iterator[Job]:
        """Edit each control once, whoever drew it."""
        wanted = {(genes, s): None for (_, s), drawn in controls.items() for genes in drawn}
        for genes, s in wanted:
            rng = np.random.default_rng([self.seed, s, *genes])
            cells = self.states[s].cells
            way = self.ways[s]
            yield self.editor.job((genes, s), genes, cells, way, self.control_cells, rng)


class Found:
    """What a run found."""

    def __init__(
        self, asked: Sequence[Perturbation], states: Sequence[State], has_target: bool
    ) -> None:
        self.asked, self.states = asked, states
        self.measures = MEASURES if has_target else MEASURES[:2]
        self.shifts = np.empty((2, 0, 0), dtype=np.float32)
        """Cosine and Euclidean shift, 2 × cells × perturbations."""
        self.sizes = [0] * len(states)
        self.effects: dict[tuple[int, int], np.ndarray] = {}
        self.controls: dict[tuple[int, int], list[Genes]] = {}
        self.control_effects: dict[Any, np.ndarray] = {}

    def unchanged(self) -> list[str]:
        """Name the perturbations that changed no cell."""
        changed = {p for (p, _), values in self.effects.items() if len(values)}
        return [asked.name for p, asked in enumerate(self.asked) if p not in changed]

    def table(self) -> pd.DataFrame:
        """Return a row for each perturbation and edited state."""
        table = pd.DataFrame(
            [
                self._row(p, s)
                for p in range(len(self.asked))
                for s, state in enumerate(self.states)
                if state.edited and state.name is not None
            ]
        )
        for name in ("shift", "score"):
            if f"p_{name}" in table:
                table[f"fdr_{name}"] = fdr(table[f"p_{name}"].to_numpy(float))
        return table

    def control_table(self, vocab: Vocabulary) -> pd.DataFrame:
        """Return a row for each perturbation, state and control."""
        names = np.where(vocab.symbol == "", vocab.ensembl_id, vocab.symbol)
        rows = [
            {
                "perturbation": self.asked[p].name,
                "group": self.states[s].name,
                "control": "+".join(names[np.array(genes) - FIRST_GENE]),
                "changed": len(self.control_effects[genes, s]),
                **self._means(self.control_effects[genes, s]),
            }
            for (p, s), drawn in self.controls.items()
            for genes in drawn
        ]
        columns = ["perturbation", "group", "control", "changed", *self.measures]
        return pd.DataFrame(rows, columns=columns)

    def _row(self, p: int, s: int) -> dict[str, Any]:
        mean = self._means(self.effects[p, s])
        row = {
            "perturbation": self.asked[p].name,
            "group": self.states[s].name,
            "cells": int(self.sizes[s]),
            "changed": len(self.effects[p, s]),
            **mean,
        }
        drawn = [self._means(self.control_effects[g, s]) for g in self.controls.get((p, s), [])]
        row["controls"] = len(drawn)
        for test, measure, two_sided in (("shift", "cosine", False), ("score", "score", True)):
            if measure in self.measures:
                values = np.array([control[measure] for control in drawn])
                row[f"{measure}_controls"] = values.mean() if len(values) else np.nan
                row[f"p_{test}"] = control_p(mean[measure], values, two_sided=two_sided)
        return row

    def _means(self, values: np.ndarray) -> dict[str, float]:
        values = values[np.isfinite(values[:, 0])]  # without those that lost their only gene
        mean = values.mean(axis=0) if len(values) else np.full(len(MEASURES), np.nan)
        return dict(zip(self.measures, mean.tolist(), strict=False))
