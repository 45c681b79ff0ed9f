from __future__ import annotations

import random

import anndata as ad
import igraph
import numpy as np
import pytest
import scanpy as sc
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from genemamba.metrics import leiden_agreement


def scanpy_agreement(X, labels):
    """scIB's search with scanpy's own graph and clustering."""
    adata = ad.AnnData(X)
    sc.pp.neighbors(adata, use_rep="X", random_state=0)
    best = {"nmi": -1.0}
    for resolution in np.linspace(0.1, 2, 20):
        sc.tl.leiden(adata, resolution=resolution, flavor="igraph", n_iterations=2, directed=False)
        nmi = normalized_mutual_info_score(labels, adata.obs["leiden"])
        if nmi > best["nmi"]:
            best = {"nmi": nmi, "ari": adjusted_rand_score(labels, adata.obs["leiden"])}
    return best


def test_agrees_with_scanpy(cells):
    found, expected = leiden_agreement(cells.X, cells.labels), scanpy_agreement(*cells[:2])
    # Leiden is random, the neighbour search approximate, and only NMI is what is maximised.
    assert found["nmi"] == pytest.approx(expected["nmi"], abs=0.05)
    if expected["nmi"] > 0.8:
        assert found["ari"] == pytest.approx(expected["ari"], abs=0.05)


def test_perfect_types_are_found(perfect):
    found = leiden_agreement(perfect.X, perfect.labels)
    assert found["ari"] == found["nmi"] == 1
    assert 0.1 <= found["resolution"] <= 2.0


def test_shuffled_labels_are_not(separated):
    shuffled = np.random.default_rng(0).permutation(separated.labels)
    found = leiden_agreement(separated.X, shuffled)
    assert found["ari"] < 0.05
    assert found["nmi"] < 0.1


def test_same_seed_same_scores(cells):
    once, twice = (leiden_agreement(cells.X, cells.labels, rng=3) for _ in range(2))
    generator = leiden_agreement(cells.X, cells.labels, rng=np.random.default_rng(3))
    assert once == twice == generator


def test_random_states_of_others_are_left_alone(separated):
    states = []
    for act in (lambda: None, lambda: leiden_agreement(separated.X, separated.labels)):
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        act()
        edges = igraph.Graph.Erdos_Renyi(n=20, p=0.2).get_edgelist()
        states.append((edges, np.random.random()))  # noqa: NPY002
    assert states[0] == states[1]
