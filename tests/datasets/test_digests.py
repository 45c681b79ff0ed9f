from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from genemamba.datasets._digests import GeneDigests

DEPTH = np.random.default_rng(1).lognormal(0, 0.7, 12_000)


@pytest.fixture
def counts() -> sparse.csr_matrix:
    """12,000 cells of uneven depth, genes from common to never seen."""
    rng = np.random.default_rng(0)
    rate = np.append(np.geomspace(3, 0.01, 39), 0)
    return sparse.csr_matrix(rng.poisson(DEPTH[:, None] * rate))


@pytest.fixture
def total() -> np.ndarray:
    """Their total counts, most of them in other genes."""
    return np.round(3_000 * DEPTH)


def exact(counts: sparse.csr_matrix, total: np.ndarray) -> np.ndarray:
    x = counts.toarray() / total[:, None] * 1e4
    return np.array([np.median(column[column > 0]) if column.any() else np.nan for column in x.T])


@pytest.mark.parametrize("buffered", [1, 20_000, 10**9])
def test_medians_are_within_half_a_percent(
    counts: sparse.csr_matrix, total: np.ndarray, buffered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genemamba.datasets._digests._BUFFERED", buffered)
    digests = GeneDigests(counts.shape[1])
    for first in range(0, 12_000, 1_000):
        digests.add(counts[first : first + 1_000], total[first : first + 1_000])
    np.testing.assert_allclose(digests.medians(), exact(counts, total), rtol=5e-3)
    np.testing.assert_array_equal(digests.cells, counts.getnnz(axis=0))


def test_merged_parts_are_the_whole(counts: sparse.csr_matrix, total: np.ndarray) -> None:
    whole = GeneDigests(counts.shape[1])
    for part in np.array_split(np.arange(12_000), 5):
        one = GeneDigests(counts.shape[1])
        one.add(counts[part], total[part])
        whole.merge(one)
    np.testing.assert_allclose(whole.medians(), exact(counts, total), rtol=5e-3)
    np.testing.assert_array_equal(whole.cells, counts.getnnz(axis=0))


def test_few_values_are_exact(counts: sparse.csr_matrix, total: np.ndarray) -> None:
    few, total = counts[:1_500], total[:1_500]
    digests = GeneDigests(counts.shape[1])
    digests.add(few, total)
    np.testing.assert_allclose(digests.medians(), exact(few, total), rtol=1e-6)
