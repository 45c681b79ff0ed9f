"""Cell types as terms of the Cell Ontology, as specific as a cell allows.

A probe gives a probability to every label it was trained on. That of a term is the sum over its
labels: "T cell" includes CD4 and CD8 T cells. Cells of studies that the probe had not seen show how
often a term with such a probability is right; where a specific term is not sure enough, a more
general one is given.

Shapes: N cells, D features, L labels, T terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import expit, logit, softmax

from genemamba.heads.choose import Labelled
from genemamba.heads.knn import Reference
from genemamba.heads.probe import Probe
from genemamba.ontology import Ontology
from genemamba.tokens import MUCH_LOST, Measured

SURE = 0.8
"""Confidence from which a term is given."""
_LOWEST, _HIGHEST = 0.03, 0.9995
"""Probabilities below the lowest are no evidence; above the highest, the probe only exaggerates."""
_FOLDS = 12
_STRENGTH = 0.03
_SHRINK = 0.3
"""Inverse penalty of how much a term may differ from the others in how often it is right."""
GENERIC = frozenset({
    "abnormal cell", "absorptive cell", "anucleate cell", "barrier cell",
    "biogenic amine secreting cell", "blood cell", "cell", "ciliated cell",
    "columnar/cuboidal epithelial cell", "contractile cell", "defensive cell",
    "ecto-epithelial cell", "electrically active cell", "electrically responsive cell",
    "electrically signaling cell", "endo-epithelial cell", "endocrine cell", "eukaryotic cell",
    "extracellular matrix secreting cell", "glycosaminoglycan secreting cell",
    "histamine secreting cell", "hormone secreting cell", "glucagon secreting cell",
    "insulin secreting cell", "lining cell", "meso-epithelial cell", "metabolising cell",
    "mononuclear leukocyte", "motile cell", "mucus secreting cell", "neuron associated cell",
    "nucleate cell", "peptide hormone secreting cell", "phagocyte",
    "phagocyte (sensu Vertebrata)", "pigment cell", "precursor cell", "protein secreting cell",
    "secretory cell", "serotonin secreting cell", "single nucleate cell", "somatic cell",
    "somatostatin secreting cell", "stuff accumulating cell", "supporting cell",
})  # fmt: skip
"""Terms that group cells by one property and would tell a biologist little."""


@dataclass(frozen=True, eq=False)
class TermHead:
    """A classifier of all types it was trained on and of their ancestors."""

    labels: tuple[str, ...]
    """Cell Ontology ids that the probe was trained on."""
    terms: tuple[str, ...]
    """Ids that can be given: labels and their ancestors, general ones first."""
    probe: Probe
    slope: np.ndarray
    offset: np.ndarray
    """``(2,)`` and ``(2, T)``: from the log odds of a term to those of its being right, in cells of
    whole transcriptomes and of panels."""
    tissues: tuple[str, ...]
    occurs: np.ndarray
    """``(n_tissues, L)`` bool: in which tissues a label occurs."""
    reference: Reference
    """Cells that a familiar cell is near to."""
    farthest: float
    """Mean distance to the nearest of them above which a cell is unknown."""
    measured: Measured
    """What real cells of the training data express: tells a panel."""
    info: dict[str, Any] = field(default_factory=dict)
    """Sources, and how often terms were right for studies that were held out."""
    map_name: str = ""
    """The map whose cells are `reference`."""

    @cached_property
    def holds(self) -> np.ndarray:
        """``(T, L)`` bool: whether a label is the term or below it."""
        return holds(self.terms, self.labels)

    @cached_property
    def finest(self) -> np.ndarray:
        """``(T,)`` bool: the labels that hold no other label."""
        return np.isin(self.terms, self.labels) & (self.holds.sum(axis=1) == 1)

    @cached_property
    def specific(self) -> np.ndarray:
        """``(T,)`` order of the terms, the most specific first."""
        ontology = Ontology.load()
        depth = [ontology.depth(term) for term in self.terms]
        return np.lexsort((np.negative(depth), self.holds.sum(axis=1)))

    def shares(self, X: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """Return the probability of each term, ``(N, T)`` float32; NaN where `X` is NaN.

        `allowed`, ``(L,)`` bool, are the labels that a cell can have.
        """
        logits = self.probe.logits(X).astype(np.float64)
        if allowed is not None:
            logits[:, ~allowed] = -np.inf
        known = np.isfinite(X).all(axis=1)
        out = np.full((len(X), len(self.terms)), np.nan, dtype=np.float32)
        out[known] = softmax(logits[known], axis=1) @ self.holds.T
        return out

    def traits(self, X: np.ndarray) -> np.ndarray:
        """Return what the head sees in cells: roots of `shares`, whose distance is Hellinger's."""
        return np.sqrt(self.shares(X))

    def panel(self, tokens: np.ndarray) -> bool:
        """Whether cells measured on these genes lack much of what the training cells express."""
        return self.measured.elsewhere(tokens) > MUCH_LOST

    def confidence(self, shares: np.ndarray, *, panel: bool = False) -> np.ndarray:
        """Return how often terms with these probabilities are right, ``(N, T)`` float32."""
        return calibrated(shares, self.slope[int(panel)], self.offset[int(panel)])

    def named(
        self,
        confidence: np.ndarray,
        among: np.ndarray,
        sure: float = SURE,
        shares: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the most specific term that is `sure`, or -1, as ``(N,)`` positions in `terms`.

        Terms are those in `among`, ``(T,)`` bool. If `sure` is 0, the most probable is returned:
        where there is evidence of none, that with the largest of `shares`.
        """
        if sure == 0:
            order = np.nan_to_num(confidence, nan=-1)
            if shares is not None:
                order = np.where(confidence > 0, 1 + order, np.nan_to_num(shares, nan=-1))
            best = np.where(among, order, -2).argmax(axis=1)
            return np.where(np.isfinite(confidence).all(axis=1), best, -1)
        order = self.specific[among[self.specific]]
        enough = confidence[:, order] >= sure
        if not enough.size:
            return np.full(len(confidence), -1)
        return np.where(enough.any(axis=1), order[enough.argmax(axis=1)], -1)

    def tissue_shares(self, shares: np.ndarray) -> np.ndarray:
        """Return how much of the cells each tissue explains, ``(n_tissues,)``, a sum of 1.

        A label counts for the tissues in which it occurs, in equal parts.
        """
        own = np.array([self.terms.index(label) for label in self.labels])
        below = self.holds.astype(np.float32).sum(axis=1)[own]
        label = np.nanmean(shares[:, own], axis=0) / below  # a label may hold others
        parts = self.occurs / np.maximum(self.occurs.sum(axis=0), 1)
        found = parts @ label
        return found / max(float(found.sum()), 1e-12)


def holds(terms: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Return ``(T, L)`` bool: whether a label is the term or below it."""
    all_terms, table = Ontology.load().closure(labels)
    place = {term: i for i, term in enumerate(all_terms)}
    return table[[place[term] for term in terms]]


def terms_of(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels and those of their ancestors that name a kind of cell."""
    ontology = Ontology.load()
    found = ontology.closure(labels)[0]
    return tuple(t for t in found if t in labels or ontology.name(t) not in GENERIC)


def calibrated(shares: np.ndarray, slope: np.ndarray | float, offset: np.ndarray) -> np.ndarray:
    """Return how often terms with these probabilities are right; 0 where there is no evidence."""
    odds = logit(np.clip(shares, _LOWEST, _HIGHEST))
    right = expit(slope * odds + offset)
    return np.where(shares < _LOWEST, 0, right).astype(np.float32)


def fit_terms(
    X: np.ndarray,
    y: np.ndarray,
    labels: Sequence[str],
    sources: np.ndarray,
    panel: np.ndarray,
    rng: np.random.Generator,
) -> tuple[Probe, tuple[str, ...], np.ndarray, np.ndarray, dict[str, float]]:
    """Train a probe; learn from whole sources held out how often each term is right.

    Parameters
    ----------
    X, y
        ``(N, D)`` embeddings, and codes into `labels`.
    sources
        ``(N,)`` the study, or table of profiles, of each cell.
    panel
        ``(N,)`` bool, whether the cell is measured on a panel.

    Returns
    -------
    The probe; the terms; slopes and offsets of their calibration; what the record keeps.
    """
    labelled = Labelled(X, y, len(labels), sources)
    terms = terms_of(labels)
    folds, cells = labelled.folds(rng, _FOLDS)
    probes = labelled.fit([a for a, _ in folds], [(_STRENGTH,)] * len(folds), rough=True)
    logits = [own[0].logits(X[b]) for own, (_, b) in zip(probes, folds, strict=True)]
    below = holds(terms, labels)
    shares = softmax(np.concatenate(logits).astype(np.float64), axis=1) @ below.T
    truth, source = y[cells], np.unique(sources, return_inverse=True)[1][cells]
    weight = 1 / np.bincount(source)[source]
    slope, offset = _calibration(shares, below[:, truth].T, weight, panel[cells])
    probe = labelled.fit([np.arange(len(y))], [(_STRENGTH,)])[0][0]
    return probe, terms, slope, offset, {"sources": len(np.unique(sources))}


def _calibration(
    shares: np.ndarray, right: np.ndarray, weight: np.ndarray, panel: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Regress being right on the log odds of a term, with an offset of its own for each term.

    Panels have another slope and, for all terms, another offset.
    """
    from sklearn.linear_model import LogisticRegression

    cell, term = np.nonzero(shares >= _LOWEST)
    odds = logit(np.clip(shares[cell, term], _LOWEST, _HIGHEST)) / 3
    one = (np.ones(len(term)), (np.arange(len(term)), term))
    own = sparse.csr_matrix(one, shape=(len(term), shares.shape[1]))
    cut = panel[cell].astype(float)
    common = sparse.csr_matrix(np.column_stack([odds, odds * cut, cut]))
    fitted = LogisticRegression(C=_SHRINK, max_iter=1_000)
    fitted.fit(
        sparse.hstack([common, own], format="csr"),
        right[cell, term],
        sample_weight=50 * weight[cell],
    )
    slope, of_panel, lower = fitted.coef_[0, :3]
    offset = fitted.coef_[0, 3:] + fitted.intercept_[0]
    return np.array([slope, slope + of_panel]) / 3, np.stack([offset, offset + lower])
