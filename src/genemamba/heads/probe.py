"""A linear classifier on frozen embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.linalg import solve_triangular
from threadpoolctl import threadpool_limits

from genemamba.heads.descent import minimise

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse L2 penalties to choose from (scikit-learn's C, on standardised features)."""
EXACT, ROUGH = 1e-5, 2e-4
"""Tolerance of weights to use, and of those that only choose among penalties."""
_ROUNDS = 500
_NEVER = np.float32(-1e30)  # logit of a class that is not trained on; no NaN comes of it
_MOST_LOGITS = 2e7  # held at a time


@dataclass(frozen=True, eq=False)
class Probe:
    """Multinomial logistic regression, as arrays."""

    weight: np.ndarray
    """``(n_classes, n_features)`` float32; applied to ``(X - mean) / scale``."""
    bias: np.ndarray
    """``(n_classes,)`` float32; ``-inf`` for a class without training cells."""
    mean: np.ndarray
    """``(n_features,)`` float32, of the training cells."""
    scale: np.ndarray
    """``(n_features,)`` float32, of the training cells."""

    @classmethod
    def fit(cls, X: np.ndarray, y: np.ndarray, n_classes: int, *, strength: float) -> Probe:
        """Fit to ``(n_cells, n_features)`` embeddings and class codes ``0 … n_classes - 1``."""
        return fit_probes(X, y, n_classes, [np.arange(len(y))], [(strength,)])[0][0]

    def logits(self, X: np.ndarray) -> np.ndarray:
        """Return ``(n_cells, n_classes)`` float32."""
        return ((X - self.mean) / self.scale @ self.weight.T + self.bias).astype(np.float32)


def fit_probes(
    X: np.ndarray,
    y: np.ndarray,
    n_classes: int,
    folds: Sequence[np.ndarray],
    strengths: Sequence[Sequence[float]],
    *,
    scaled: int | None = None,
    tolerance: float = EXACT,
) -> list[list[Probe]]:
    """Fit a probe to the cells of each fold, for each of its strengths; one list per fold.

    The first `scaled` features, or all, are standardised; the others are only centred.

    The objective is scikit-learn's. All folds share matrix products, and their losses are summed
    and minimised together (L-BFGS), each strength starting from the previous one. Weights are
    preconditioned by a bound of the Hessian (Böhning 1992), which is nearly the same for all folds.
    A fold with one class gives it all probability.
    """
    most = max(1, int(_MOST_LOGITS / max(1, len(y) * n_classes)))
    found: list[list[Probe]] = []
    with threadpool_limits(1):  # the products are small: threads would wait for each other
        for first in range(0, len(folds), most):
            part = slice(first, first + most)
            problems = _Problems(X, y, n_classes, folds[part], scaled)
            found += problems.path(np.array(strengths[part]).T, tolerance)
    return found


class _Problems:
    """Regressions on some cells each. F folds, N cells, C classes, D features."""

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        n_classes: int,
        folds: Sequence[np.ndarray],
        scaled: int | None,
    ) -> None:
        self.origin = X.mean(axis=0, dtype=np.float64)
        self.X = (X - self.origin).astype(np.float32)
        member = np.zeros((len(folds), len(y)), dtype=np.float32)
        for f, cells in enumerate(folds):
            member[f, cells] = 1
        size = member.sum(axis=1, keepdims=True)
        self.mean = member @ self.X / size  # F D
        spread = np.sqrt(np.maximum(member @ self.X**2 / size - self.mean**2, 0))
        self.scale = np.where(spread > 1e-6 * np.abs(self.X).max(axis=0, initial=1e-30), spread, 1)
        if scaled is not None:
            self.scale[:, scaled:] = 1
        self.share = (member / size).T[:, :, None]  # N F 1
        one = np.eye(n_classes, dtype=np.float32)[y]
        self.truth = one[:, None, :] * self.share  # N F C
        self.present = self.truth.any(axis=0)  # F C
        # scikit-learn has one row of weights for two classes: twice the penalty of two rows
        twice = 1 + (self.present.sum(axis=1) == 2)
        self.cost = (twice[:, None, None] / size[:, :, None]).astype(np.float32)

    def path(self, strengths: np.ndarray, tolerance: float) -> list[list[Probe]]:
        """Return the probes of each fold; `strengths` is S × F."""
        W = np.zeros((*self.present.shape, self.X.shape[1] + 1), dtype=np.float32)
        found: list[list[Probe]] = [[] for _ in self.present]
        for own in strengths:
            penalty = self.cost / own[:, None, None].astype(np.float32)
            root = self._root(float(np.exp(np.log(penalty).mean())))
            start = W.copy()
            start[..., :-1] = W[..., :-1] @ root
            done = minimise(
                partial(self.loss, penalty=penalty, root=root),
                start.reshape(len(W), -1), tolerance=tolerance, rounds=_ROUNDS,
            )  # fmt: skip
            W = self._weights(done, root)
            for f, probes in enumerate(found):
                there = self.present[f]
                weight = np.where(there[:, None], W[f, :, :-1], 0).astype(np.float32)
                bias = np.where(there, W[f, :, -1], -np.inf).astype(np.float32)
                mean = (self.mean[f] + self.origin).astype(np.float32)
                probes.append(Probe(weight, bias, mean, self.scale[f].astype(np.float32)))
        return found

    def loss(
        self, flat: np.ndarray, penalty: np.ndarray, root: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss of each fold and its gradient."""
        W = self._weights(flat, root)
        weight, bias = W[..., :-1], W[..., -1]
        V = weight / self.scale[:, None]
        shift = bias - np.einsum("fcd,fd->fc", V, self.mean)
        logits = (self.X @ _rows(V).T).reshape(-1, *shift.shape) + shift
        logits[:, ~self.present] = _NEVER
        logits -= logits.max(axis=2, keepdims=True)
        own = np.einsum("nfc,nfc->nf", self.truth, logits)
        p = np.exp(logits, out=logits)
        whole = p.sum(axis=2, keepdims=True)
        own -= (self.share * np.log(whole))[..., 0]
        total = (penalty * weight**2).sum(axis=(1, 2)) / 2 - own.sum(axis=0, dtype=np.float64)
        p *= self.share / whole
        p -= self.truth
        by_class = p.sum(axis=0)  # F C
        by_feature = (p.reshape(len(self.X), -1).T @ self.X).reshape(V.shape)
        by_feature -= by_class[..., None] * self.mean[:, None]
        gradient = np.empty_like(W)
        by_weight = by_feature / self.scale[:, None] + penalty * weight
        gradient[..., :-1] = solve_triangular(root, _rows(by_weight).T, lower=True).T.reshape(
            V.shape
        )
        gradient[..., -1] = by_class
        return total, gradient.reshape(len(W), -1)

    def _root(self, penalty: float) -> np.ndarray:
        """Return the Cholesky factor of a bound of the Hessian, common to all folds and classes."""
        X = self.X / self.scale.mean(axis=0)
        hessian = X.T @ X / (2 * len(X))
        hessian[np.diag_indices_from(hessian)] += penalty
        return np.linalg.cholesky(hessian.astype(np.float64)).astype(np.float32)

    def _weights(self, flat: np.ndarray, root: np.ndarray) -> np.ndarray:
        W = flat.reshape(*self.present.shape, -1).copy()
        own = W[..., :-1]
        W[..., :-1] = solve_triangular(root, _rows(own).T, lower=True, trans=1).T.reshape(own.shape)
        return W


def _rows(W: np.ndarray) -> np.ndarray:
    return W.reshape(-1, W.shape[-1])
