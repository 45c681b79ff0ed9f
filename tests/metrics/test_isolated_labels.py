from __future__ import annotations

import numpy as np
import pytest
import scib_metrics
from sklearn.metrics import silhouette_samples

from genemamba.metrics import isolated_labels


def test_agrees_with_scib_metrics(cells):
    expected = scib_metrics.isolated_labels(cells.X, cells.labels, cells.batch)
    assert isolated_labels(cells.X, cells.batch, cells.labels) == pytest.approx(expected, abs=1e-4)


def test_only_types_of_the_fewest_batches_count(cells):
    rare = cells.labels[0]
    batch = np.where(cells.labels == rare, cells.batch[0], cells.batch)
    n_batches = {t: len(set(batch[cells.labels == t])) for t in set(cells.labels)}
    isolated = [t for t in n_batches if n_batches[t] == min(n_batches.values())]
    assert rare in isolated
    widths = (silhouette_samples(cells.X, cells.labels) + 1) / 2
    slow = np.mean([widths[cells.labels == t].mean() for t in isolated])
    assert isolated_labels(cells.X, batch, cells.labels) == pytest.approx(slow, abs=1e-5)
