"""Perturbations of groups of cells, each set against the same edit of other genes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from genemamba.errors import InputError
from genemamba.genes.enrichment import fdr
from genemamba.tl._edited import MEASURES, Editor, Job, Sample
from genemamba.tl._shift import Direction, Profile, control_p
from genemamba.tokens import FIRST_GENE

Genes = tuple[int, ...]
_LEAST = np.finfo(float).tiny
_FIRST = 20  # controls that give a first answer


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


class Edit(NamedTuple):
    """An edit of some cells of a state, and what it is known by."""

    key: Any
    genes: Genes
    cells: np.ndarray
    state: int


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
        own, controls = list(self._own_edits()), list(self._control_edits(found))
        soon = {(genes, s) for (_, s), drawn in found.controls.items() for genes in drawn[:_FIRST]}
        early = [edit for edit in controls if edit.key in soon]
        late = [edit for edit in controls if edit.key not in soon]
        with self.editor.bar as bar:
            bar.expect(
                len(self.editor.ranked.lengths) + sum(len(e.cells) for e in [*own, *controls])
            )
            edited = np.concatenate([s.cells for s in self.states if s.edited])
            there = edited[np.isfinite(self.before[edited]).all(axis=1)]
            shape = (2, len(self.before), len(self.asked))
            found.shifts = np.full(shape, np.nan, dtype=np.float32)
            found.shifts[:, there] = 0
            for s, state in enumerate(self.states):
                found.sizes[s] = np.isin(state.cells, there).sum()
            for job, values in self.editor.measure(self.before, map(self._job, own)):
                p, s = job.key
                found.shifts[:, job.cells, p] = values[:, :2].T
                found.effects[p, s] = job.cells, values
            for part in (early, late):
                for job, values in self.editor.measure(self.before, map(self._job, part)):
                    found.control_effects[job.key] = _kept(values)
                if part is early and late:
                    bar.tell(found.first_answer())
        return found

    def _job(self, edit: Edit) -> Job:
        return self.editor.job(edit.key, edit.genes, edit.cells, self.ways[edit.state])

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
        if to is None:
            raise InputError(
                f"no cell of the target state {self.target!r} expresses a gene of the model",
                "choose another target, or check layer and gene_ids",
            )
        starts = [
            None if s.name is None
            else self._centroid(others if s.name == self.target else s.cells)
            for s in self.states
        ]  # fmt: skip
        return [None if start is None else Direction(start, to) for start in starts]

    def _centroid(self, cells: np.ndarray) -> np.ndarray | None:
        """Return the mean vector; None if no cell has one."""
        vectors = self.before[cells]
        vectors = vectors[np.isfinite(vectors).all(axis=1)]
        return vectors.mean(axis=0) if len(vectors) else None

    @cached_property
    def samples(self) -> list[Sample]:
        """The cells of each state, in random order."""
        return [
            Sample(self.editor, s.cells, self.control_cells, np.random.default_rng([self.seed, k]))
            for k, s in enumerate(self.states)
        ]

    def _own_edits(self) -> Iterator[Edit]:
        for p, perturbation in enumerate(self.asked):
            for s, state in enumerate(self.states):
                if state.edited:
                    changed = self.samples[s].changed_by(perturbation.tokens, len(state.cells))
                    yield Edit((p, s), perturbation.tokens, np.sort(changed), s)

    def _control_edits(self, found: Found) -> Iterator[Edit]:
        """Draw the controls of every perturbation and state, and the cells to compare them in.

        Each control is edited once, whoever drew it, and in no more cells than it is compared in.
        """
        for s, state in enumerate(self.states):
            if not state.edited or state.name is None or not self.n_controls:
                continue
            sample = self.samples[s]
            tokens = np.union1d(self.known, [t for p in self.asked for t in p.tokens])
            deletes = self.editor.how == "delete"
            if deletes:  # a gene that no cell expresses cannot be deleted
                tokens = np.intersect1d(tokens, sample.ranked.tokens)
            profile = Profile.of(sample.ranked, tokens)
            wanted: dict[Genes, int] = {}
            for p, perturbation in enumerate(self.asked):
                found.compared[p, s] = compared = sample.changed_by(perturbation.tokens)
                members = tuple(t for t in perturbation.tokens if t in tokens)
                rng = np.random.default_rng([self.seed, s, *perturbation.tokens])
                least = self.control_cells if deletes else 0
                drawn = profile.like(members, self.n_controls, rng, least) if members else []
                found.controls[p, s] = drawn
                wanted |= {genes: max(wanted.get(genes, 0), len(compared)) for genes in drawn}
            for genes, n in wanted.items():
                yield Edit((genes, s), genes, sample.changed_by(genes, n), s)


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
        self.effects: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
        """Of a perturbation and state: the cells changed, ascending, and their measures."""
        self.compared: dict[tuple[int, int], np.ndarray] = {}
        """The cells in which a perturbation is set against as many of each control."""
        self.controls: dict[tuple[int, int], list[Genes]] = {}
        self.control_effects: dict[Any, np.ndarray] = {}

    def tested(self, p: int, s: int) -> np.ndarray:
        """Measures of a perturbation in the cells that are compared."""
        changed, values = self.effects[p, s]
        cells = self.compared.get((p, s), changed[:0])
        return _kept(values[np.searchsorted(changed, cells)])

    def unchanged(self) -> list[str]:
        """Name the perturbations that changed no cell."""
        changed = {p for (p, _), (cells, _) in self.effects.items() if len(cells)}
        return [asked.name for p, asked in enumerate(self.asked) if p not in changed]

    def first_answer(self) -> str:
        """Say what the controls so far tell of the strongest perturbations."""
        table = self.table().sort_values("p_shift").head(3)
        said = [
            f"{row.perturbation}{'' if row.group == 'all' else f' in {row.group}'} moves cells "
            f"{row.cosine_tested / max(row.cosine_controls, _LEAST):.1f} times as far as "
            f"{row.controls} controls (p = {row.p_shift:.2g})"
            for row in table.itertuples()
            if row.controls
        ]
        return "; ".join(["perturb, so far: " + said[0], *said[1:]]) if said else ""

    def table(self) -> pd.DataFrame:
        """Return a row for each perturbation and edited state."""
        rows = [
            (p, s)
            for p in range(len(self.asked))
            for s, state in enumerate(self.states)
            if state.edited and state.name is not None
        ]
        table = pd.DataFrame([self._row(p, s) for p, s in rows])
        for test, measure in (("shift", "cosine"), ("score", "score")):
            if measure not in self.measures:
                continue
            controls = [
                np.array([of[measure] for of in self._matched(p, s).values()], dtype=float)
                for p, s in rows
            ]
            means = [c.mean() if len(c) else np.nan for c in controls]
            own = table[f"{measure}_tested"].to_numpy(float)
            if test == "shift":  # as ratios: null distributions of small and large shifts are alike
                own, *controls = (np.log(np.maximum(v, _LEAST)) for v in (own, *controls))
            p = control_p(own, controls, two_sided=test == "score")
            table[f"{measure}_controls"] = means
            table[f"p_{test}"], table[f"fdr_{test}"] = p, fdr(p)
        return table

    def control_table(self, names: np.ndarray) -> pd.DataFrame:
        """Return a row for each perturbation, state and control; `names` are those of all genes."""
        rows = [
            {
                "perturbation": self.asked[p].name,
                "group": self.states[s].name,
                "control": "+".join(names[np.array(genes) - FIRST_GENE]),
                "tested": n,
                **means,
            }
            for (p, s), n in ((key, len(self.tested(*key))) for key in self.controls)
            for genes, means in self._matched(p, s).items()
        ]
        columns = ["perturbation", "group", "control", "tested", *self.measures]
        return pd.DataFrame(rows, columns=columns)

    def _row(self, p: int, s: int) -> dict[str, Any]:
        values = self.effects[p, s][1]
        tested = self.tested(p, s)
        means = self._means(tested)
        return {
            "perturbation": self.asked[p].name,
            "group": self.states[s].name,
            "cells": int(self.sizes[s]),
            "changed": len(values),
            **self._means(_kept(values)),
            "controls": len(self._matched(p, s)),
            "tested": len(tested),
            **{f"{name}_tested": means[name] for name in ("cosine", "score") if name in means},
        }

    def _matched(self, p: int, s: int) -> dict[Genes, dict[str, float]]:
        """Means of each control over as many cells as the perturbation itself is tested in."""
        n = len(self.tested(p, s))
        read = (g for g in self.controls.get((p, s), []) if (g, s) in self.control_effects)
        drawn = {g: self.control_effects[g, s] for g in read}
        return {g: self._means(values[:n]) for g, values in drawn.items() if 0 < n <= len(values)}

    def _means(self, values: np.ndarray) -> dict[str, float]:
        mean = values.mean(axis=0) if len(values) else np.full(len(MEASURES), np.nan)
        return dict(zip(self.measures, mean.tolist(), strict=False))


def _kept(values: np.ndarray) -> np.ndarray:
    """Leave out cells that lost their only gene."""
    return values[np.isfinite(values[:, 0])]
