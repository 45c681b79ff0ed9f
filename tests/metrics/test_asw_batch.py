from __future__ import annotations

import numpy as np
import pytest
import scib_metrics
from sklearn.metrics import silhouette_score

from genemamba.errors import InputError
from genemamba.metrics import asw_batch


def test_within_types_agrees_with_scib_metrics(cells):
    expected = scib_metrics.silhouette_batch(cells.X, cells.labels, cells.batch)
    assert asw_batch(cells.X, cells.batch, labels=cells.labels) == pytest.approx(expected, abs=1e-4)


def test_over_all_cells_is_the_papers_formula(cells):
    expected = 1 - abs(silhouette_score(cells.X, cells.batch))
    assert asw_batch(cells.X, cells.batch) == pytest.approx(expected, abs=1e-5)


def test_batches_far_apart_score_low(separated):
    shift = 1000 * (separated.batch[:, None] == ["x", "y", "z"]) @ np.eye(3, 12)
    assert asw_batch(separated.X, separated.batch, labels=separated.labels) > 0.9
    assert asw_batch(separated.X + shift, separated.batch, labels=separated.labels) < 0.05


def test_a_type_of_one_batch_is_left_out(separated):
    batch = np.where(separated.labels == "B", "x", separated.batch)
    others = separated.labels != "B"
    assert asw_batch(separated.X, batch, labels=separated.labels) == pytest.approx(
        asw_batch(separated.X[others], batch[others], labels=separated.labels[others])
    )


def test_confounded_batches_are_refused(separated):
    with pytest.raises(InputError, match=r"confounded.*\n.*crosses the cell types"):
        asw_batch(separated.X, separated.labels, labels=separated.labels)
