"""Digests of genes beside numpy's median."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from genemamba.tokens import GeneDigests, digests

DEPTH = np.random.default_rng(1).lognormal(0, 0.7, 12_000)
BOUND = 2**-8  # nine significant bits


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
    csc = counts.tocsc()
    columns = np.split(csc.data / total[csc.indices] * 1e4, csc.indptr[1:-1])
    return np.array([np.median(column) if len(column) else np.nan for column in columns])


def digest(counts: sparse.csr_matrix, total: np.ndarray, n_cells: int) -> GeneDigests:
    digests = GeneDigests(counts.shape[1])
    for first in range(0, len(total), n_cells):
        digests.add(counts[first : first + n_cells], total[first : first + n_cells])
    return digests


@pytest.mark.parametrize(("kept", "bound"), [(50, BOUND), (20_000, BOUND), (10**6, 1e-6)])
def test_medians_are_those_of_numpy(
    counts: sparse.csr_matrix,
    total: np.ndarray,
    kept: int,
    bound: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(digests, "_KEPT", kept)
    found = digest(counts, total, 1_000)
    np.testing.assert_allclose(found.medians(), exact(counts, total), rtol=bound)
    np.testing.assert_array_equal(found.cells, counts.getnnz(axis=0))


@pytest.mark.parametrize("kept", [20_000, 60_000, 10**6])
def test_parts_in_any_order_are_the_whole_to_the_bit(
    counts: sparse.csr_matrix, total: np.ndarray, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_KEPT", kept)
    whole = digest(counts, total, 12_000)
    order = np.random.default_rng(0).permutation(12_000)
    merged = GeneDigests(counts.shape[1])
    for part in np.split(order, [100, 5_000, 5_001, 11_000]):
        merged.merge(digest(counts[part], total[part], 700))
    np.testing.assert_array_equal(merged.medians(), whole.medians())
    np.testing.assert_array_equal(merged.cells, whole.cells)


RNG = np.random.default_rng(2)
HARD = {
    "ascending": np.sort(RNG.lognormal(2, 2, 9_001)),
    "descending": np.sort(RNG.lognormal(2, 2, 9_000))[::-1],
    "one value": np.full(5_000, 3.7),
    "few values": RNG.choice([1.0, 1.001, 5.0], 9_000),
    "two clusters": np.repeat([0.5, 0.75, 800.0], [2_500, 2_500, 5_000]),
    "two clusters, odd": np.repeat([0.5, 800.0], [5_001, 5_000]),
    "steps of a bin": 1 + np.arange(5_000) % 7 / 256,
    "tiny and huge": np.geomspace(1e-3, 1e4, 8_001),
    "one cell": np.array([2.5]),
    "two cells": np.array([2.5, 9_000.0]),
    "none": np.empty(0),
}


@pytest.mark.parametrize("kept", [700, 10**6])
def test_no_order_and_no_values_are_too_hard(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_KEPT", kept)
    n_cells = max(map(len, HARD.values()))
    values = np.zeros((n_cells, len(HARD)))
    for gene, column in enumerate(HARD.values()):
        values[: len(column), gene] = column
    found = digest(sparse.csr_matrix(values), np.full(n_cells, 1e4), 500).medians()
    expected = [np.median(column) if len(column) else np.nan for column in HARD.values()]
    np.testing.assert_allclose(found, expected, rtol=BOUND if kept == 700 else 1e-6)


def test_medians_of_real_cells(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = shared_data / "corpus" / "ipsc_cardio.h5ad"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    monkeypatch.setattr(digests, "_KEPT", 500_000)
    counts = sparse.csr_matrix(ad.read_h5ad(file).X)
    total = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    found = digest(counts, total, 500).medians()
    np.testing.assert_allclose(found, exact(counts, total), rtol=BOUND)
