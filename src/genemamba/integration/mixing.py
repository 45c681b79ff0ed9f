"""Cells of several batches in one space: the array core of ``gm.tl.integrate``.

First, directions in which two random halves of a cell agree (biology and batch effects) are scaled
by their disagreement (sampling noise). Then batches are mixed: soft clusters that contain all
batches alike, and one shift per cluster and batch, the model of Harmony [1]_, here with balancing
weights from iterations over all cells at once.

.. [1] Korsunsky et al., *Fast, sensitive and accurate integration of single-cell data with
   Harmony*, Nature Methods 2019.

Shapes: N cells, S of them split into halves, D features, K clusters, B batches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.floating]
Codes = NDArray[np.intp]

N_COMPONENTS = 50
MODEL_WEIGHT = 0.5  # chosen on training blood, by held-out counts
RELIABLE = 0.5  # halves share more than they differ by
_RELIABILITY_CAP = 0.99  # limits the weight of directions in which halves agree fully
_CELLS_PER_DIRECTION = 8  # fewer cells give spurious agreement
_BLOCK = 4096  # cells made dense at once

N_CLUSTERS, _CELLS_PER_CLUSTER = 100, 30
_THETA, _SIGMA, _RIDGE = 2.0, 0.1, 1.0  # Harmony's defaults
_ROUNDS, _BALANCING, _STEP, _STILL = 10, 20, 0.3, 1e-3


def centred(X: Array, batch: Codes) -> Array:
    """Subtract the mean of each batch."""
    batches, own = np.unique(batch, return_inverse=True)
    means = np.stack([X[batch == b].mean(axis=0) for b in batches])
    return X - means[own]


def without_depth(X: Array, total: Array, batch: Codes) -> Array:
    """Regress the log total of cells out of their features, within each batch."""
    depth = centred(np.log(total)[:, None], batch)
    within = centred(X, batch)
    out = np.array(X, dtype=np.float64)
    for b in np.unique(batch):
        cells = batch == b
        d = depth[cells]
        out[cells] -= d @ (d.T @ within[cells]) / max(float((d**2).sum()), 1e-12)
    return out


def loadings(logged: sparse.csr_matrix, batch: Codes) -> Array:
    """Return principal axes of the cells, centred by batch, D × components."""
    n, d = logged.shape
    scatter: Array = np.zeros((d, d))
    for start in range(0, n, _BLOCK):
        block = logged[start : start + _BLOCK].toarray()
        scatter += block.T @ block
    batches = np.unique(batch)
    for b in batches:
        mean = np.asarray(logged[batch == b].mean(axis=0)).ravel()
        scatter -= (batch == b).sum() * np.outer(mean, mean)
    keep = max(1, min(N_COMPONENTS, d, n - len(batches)))
    return np.linalg.eigh(scatter)[1][:, ::-1][:, :keep]


def agreement(first: Array, second: Array, batch: Codes) -> Array:
    """Return the directions in which halves of cells agree, D × directions.

    They are scaled so that the noise of a half has unit variance, and kept if the covariance of the
    halves, centred by batch, is more than half of their variance.
    """
    a, b = centred(first, batch), centred(second, batch)
    scale = 2 * len(a)
    shared = (a.T @ b + b.T @ a) / scale
    total = (a.T @ a + b.T @ b) / scale
    variance, axes = np.linalg.eigh(total)
    most = max(2, len(a) // _CELLS_PER_DIRECTION)
    variance, axes = variance[::-1][:most], axes[:, ::-1][:, :most]
    whiten = axes / np.sqrt(variance + 1e-3 * np.trace(total) / len(total))
    reliability, turn = np.linalg.eigh(whiten.T @ shared @ whiten)
    reliability, turn = reliability[::-1], turn[:, ::-1]
    n_kept = max(2, int((reliability > RELIABLE).sum()))
    reliability = np.clip(reliability[:n_kept], 0, _RELIABILITY_CAP)
    return whiten @ turn[:, :n_kept] / np.sqrt(1 - reliability)


def combined(expression: Array, model: Array, batch: Codes) -> Array:
    """Concatenate two views of the cells, the model's scaled to a share of the other's spread."""
    weight = MODEL_WEIGHT * _spread(expression, batch) / max(_spread(model, batch), 1e-12)
    return np.hstack([weight * model, expression])


def _spread(X: Array, batch: Codes) -> float:
    return float(np.sqrt(centred(X, batch).var(axis=0).sum()))


def mix(X: Array, batch: Codes, rng: np.random.Generator) -> NDArray[np.float32]:
    """Shift cells by cluster and batch, so that every cluster contains all batches alike.

    Balance is soft: types that occur in some batches only can keep separate clusters.
    """
    _, own = np.unique(batch, return_inverse=True)
    member = np.eye(own.max() + 1)[own]  # N × B
    X = X - X.mean(axis=0)
    n_clusters = max(2, min(N_CLUSTERS, len(X) // _CELLS_PER_CLUSTER))
    moved: Array = X
    centres = _seeds(unit(moved), n_clusters, rng)
    balance: Array = np.zeros((n_clusters, member.shape[1]))
    for _ in range(_ROUNDS):
        share, centres, balance = _balanced(unit(moved), centres, balance, own, member)
        before, moved = moved, X - _shifts(X, share, own)
        if np.abs(moved - before).mean() < _STILL * np.abs(before).mean():
            break
    return moved.astype(np.float32)


def unit(X: Array) -> Array:
    """Scale each row to length 1."""
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def _balanced(
    U: Array, centres: Array, balance: Array, own: Codes, member: Array
) -> tuple[Array, Array, Array]:
    """Return soft clusters (N × K) that down-weight over-represented batches."""
    for _ in range(_BALANCING):
        logit = 2 / _SIGMA * (U @ centres.T) + balance.T[own]
        share = np.exp(logit - logit.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        found = share.T @ member
        expected = np.outer(share.sum(axis=0), member.mean(axis=0))
        wanted = _THETA * np.log((expected + 1) / (found + 1))
        balance = (1 - _STEP) * balance + _STEP * wanted
        centres = unit(share.T @ U)
    return share, centres, balance


def _shifts(X: Array, share: Array, own: Codes) -> Array:
    """Return each cell's shift: shrunken batch means of its clusters minus their common means."""
    n_batches = own.max() + 1
    weight = np.stack([share[own == b].sum(axis=0) for b in range(n_batches)])  # B × K
    sums = np.stack([share[own == b].T @ X[own == b] for b in range(n_batches)])  # B × K × D
    mean = sums / np.maximum(weight, 1e-12)[..., None]
    trust = weight / (weight + _RIDGE)  # closed-form ridge regression on the batch
    common = np.einsum("bk,bkd->kd", trust, mean) / trust.sum(axis=0)[:, None]
    offset = trust[..., None] * (mean - common)
    out = np.empty_like(X)
    for b in range(n_batches):
        out[own == b] = share[own == b] @ offset[b]
    return out


def _seeds(U: Array, k: int, rng: np.random.Generator) -> Array:
    """Return centres from k-means on the unit sphere, started far from each other."""
    centres = U[[rng.integers(len(U))]]
    far = np.maximum(1 - U @ centres[0], 1e-9)
    while len(centres) < k:
        centres = np.vstack([centres, U[rng.choice(len(U), p=far / far.sum())]])
        far = np.maximum(np.minimum(far, 1 - U @ centres[-1]), 1e-9)
    for _ in range(25):
        nearest = (U @ centres.T).argmax(axis=1)
        member = sparse.csr_matrix((np.ones(len(U)), (nearest, np.arange(len(U)))), (k, len(U)))
        sums = member @ U
        centres = np.where((member.getnnz(axis=1) > 0)[:, None], unit(sums), centres)
    return centres


def supervised(X: Array, labels: Codes) -> NDArray[np.float32]:
    """Project all cells on linear discriminants of the labelled cells (label ≥ 0).

    Classes - 1 dimensions with shrunken covariance, in which each class has unit variance.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    seen = labels >= 0
    discriminant = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    return discriminant.fit(X[seen], labels[seen]).transform(X).astype(np.float32)
