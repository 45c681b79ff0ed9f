from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from genemamba.errors import InputError
from genemamba.metrics import asw_batch, bras


def slow_bras(X, batch, labels):
    per_type = []
    for label in set(labels):
        Xt, bt = X[labels == label].astype(float), batch[labels == label]
        if len(set(bt)) == 1:
            continue
        distances = cdist(Xt, Xt, "cosine")
        widths = []
        for i, own in enumerate(bt):
            n_own = np.sum(bt == own)
            a = distances[i, bt == own].sum() / (n_own - 1) if n_own > 1 else np.nan
            b = distances[i, bt != own].mean()
            widths.append(0.0 if n_own == 1 else (b - a) / max(a, b))
        per_type.append(np.mean(1 - np.abs(widths)))
    return np.mean(per_type)


def test_agrees_with_a_slow_implementation(cells):
    expected = slow_bras(cells.X, cells.batch, cells.labels)
    assert bras(cells.X, cells.batch, cells.labels) == pytest.approx(expected, abs=1e-4)


def test_sees_through_nested_batches(separated):
    """Batches x and y mix, z lies apart: the nearest batch hides it, the mean of all does not."""
    X = separated.X + 30 * np.eye(12)[0] * (separated.batch == "z")[:, None]
    batch, labels = separated.batch, separated.labels
    assert bras(X, batch, labels) < asw_batch(X, batch, labels=labels) - 0.05


def test_a_type_of_one_batch_is_left_out(separated):
    batch = np.where(separated.labels == "B", "x", separated.batch)
    expected = slow_bras(separated.X, batch, separated.labels)
    assert bras(separated.X, batch, separated.labels) == pytest.approx(expected, abs=1e-4)


def test_confounded_batches_are_refused(separated):
    with pytest.raises(InputError, match="confounded"):
        bras(separated.X, separated.labels, separated.labels)
