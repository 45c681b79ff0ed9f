from __future__ import annotations

import numpy as np

from genemamba.metrics import asw_batch, avg_batch, graph_connectivity


def test_is_the_mean_of_its_components(cells):
    X, labels, batch = cells
    parts = avg_batch(X, batch, labels, components=True)
    assert parts["asw_batch_within"] == asw_batch(X, batch, labels=labels)
    assert parts["asw_batch_overall"] == asw_batch(X, batch)
    assert parts["graph_connectivity"] == graph_connectivity(X, labels)
    within = (parts["asw_batch_within"] + parts["graph_connectivity"]) / 2
    overall = (parts["asw_batch_overall"] + parts["graph_connectivity"]) / 2
    assert parts["avg_batch"] == avg_batch(X, batch, labels) == within
    assert avg_batch(X, batch, labels, within_labels=False) == overall


def test_mixed_batches_score_higher_than_separate_ones(separated):
    X, labels, batch = separated
    shift = 1000 * (batch == "x")[:, None]
    assert avg_batch(X, batch, labels) > 0.9
    assert avg_batch(X + shift, batch, labels) < 0.7


def test_the_papers_formula_needs_no_type_in_two_batches(separated):
    X, labels, _ = separated
    halves = np.where(np.isin(labels, ["B", "NK"]), "x", "y")
    assert 0 < avg_batch(X, halves, labels, within_labels=False) <= 1
