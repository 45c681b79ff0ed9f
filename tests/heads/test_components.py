from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from genemamba.heads import Components
from genemamba.heads.components import MOST_COMPONENTS


def expression(n_cells: int, n_genes: int = 40, seed: int = 0) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    programme = rng.gamma(1, size=(n_cells, 4)) @ rng.gamma(1, size=(4, n_genes))
    return sparse.csr_matrix(np.log1p(rng.poisson(programme)).astype(np.float32))


def fitted(logged: sparse.csr_matrix, place: np.ndarray) -> Components:
    return Components.fit(logged, np.arange(logged.shape[1]) * 3, place)


@pytest.mark.parametrize("n_cells", [25, 300])  # fewer cells than genes, and more
def test_it_is_scikit_learns_pca(n_cells: int) -> None:
    logged, place = expression(n_cells), np.arange(0, 40, 2)
    place = place if n_cells > 40 else np.arange(40)
    components = fitted(logged, place)
    n = min(MOST_COMPONENTS, len(place), n_cells - 1)
    found = components.of(logged, np.ones(40, dtype=bool))
    assert found.shape == (n_cells, n) and found.dtype == np.float32
    scaled = StandardScaler().fit_transform(logged[:, place].toarray().astype(np.float64))
    expected = PCA(n).fit_transform(np.clip(scaled, -10, 10))
    clear = slice(0, 10)  # the last ones have nearly equal variances
    np.testing.assert_allclose(np.abs(found[:, clear]), np.abs(expected[:, clear]), atol=2e-3)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=2e-2)


def test_other_cells_are_scaled_as_the_first_ones() -> None:
    logged, other = expression(200), expression(50, seed=1)
    components = fitted(logged, np.arange(40))
    dense = logged.toarray()
    scaled = (other.toarray() - dense.mean(0)) / dense.std(0)
    np.testing.assert_allclose(
        components.of(other, np.ones(40, dtype=bool)),
        np.clip(scaled, -10, 10) @ components.loading,
        atol=1e-3,
    )


def test_a_gene_that_is_not_measured_counts_as_the_mean() -> None:
    logged = expression(200)
    components, measured = fitted(logged, np.arange(40)), np.arange(40) % 4 > 0
    mean = logged.toarray()
    mean[:, ~measured] = components.mean[~measured]
    np.testing.assert_allclose(
        components.of(logged, measured),
        components.of(sparse.csr_matrix(mean), np.ones(40, dtype=bool)),
        atol=1e-4,
    )


def test_a_constant_gene_and_no_cell_do_no_harm() -> None:
    logged = expression(60).tolil()
    logged[:, 3] = 1
    components = fitted(logged.tocsr(), np.arange(40))
    assert np.isfinite(components.loading).all()
    assert components.of(expression(60)[:0], np.ones(40, dtype=bool)).shape == (0, 40)
