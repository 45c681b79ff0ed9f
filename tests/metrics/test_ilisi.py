from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.spatial.distance import cdist

from genemamba.metrics import ilisi


def slow_ilisi(X, batch, k=90, perplexity=30):
    distances = cdist(X.astype(float), X.astype(float))
    scores = []
    for row in distances:
        near = np.argsort(row)[1:k]  # the cell itself is one of the k
        d = row[near]

        def weights(beta, d=d):
            p = np.exp(-beta * (d - d.min()))
            return p / p.sum()

        def excess(beta, weights=weights):
            p = weights(beta)
            return -(p * np.log(p + 1e-300)).sum() - np.log(perplexity)

        p = weights(brentq(excess, 1e-6, 1e3))
        shares = [p[batch[near] == b].sum() for b in set(batch)]
        scores.append(1 / np.sum(np.square(shares)))
    return (np.median(scores) - 1) / (len(set(batch)) - 1)


def test_agrees_with_a_slow_implementation(cells):
    expected = slow_ilisi(cells.X, cells.batch)
    assert ilisi(cells.X, cells.batch) == pytest.approx(expected, abs=0.01)


def test_separate_batches_score_zero_and_mixed_ones_high(separated):
    shift = 1000 * (separated.batch[:, None] == ["x", "y", "z"]) @ np.eye(3, 12)
    assert ilisi(separated.X + shift, separated.batch) < 0.01
    assert ilisi(separated.X, separated.batch) > 0.7
