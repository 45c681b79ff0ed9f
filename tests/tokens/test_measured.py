from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from genemamba.tokens import GeneMatch, measure


def genes(*token: int) -> GeneMatch:
    status = np.where(np.array(token) < 0, "unknown", "symbol")
    return GeneMatch(
        np.array(token, dtype=np.int32), np.where(status == "symbol", 1.0, np.nan), status
    )


COUNTS = sparse.csr_matrix([[4, 0, 0, 4], [0, 3, 3, 0], [1, 1, 1, 1], [0, 0, 0, 0]])


def test_shares_are_means_over_cells_and_columns_of_a_gene_are_added() -> None:
    found = measure([COUNTS[:1], COUNTS[1:]], genes(9, 5, -1, 9))  # in blocks of cells
    assert found.tokens.tolist() == [5, 9]
    np.testing.assert_allclose(found.share, [(0.5 + 0.25) / 4, (1 + 0.5) / 4])
    assert found.unknown == pytest.approx(1 - 2.25 / 4)
    assert found.elsewhere(np.array([9])) == pytest.approx(0.75 / 2.25)
    assert found.elsewhere(np.array([5, 9, 11])) == 0
    assert found.elsewhere(np.array([], dtype=int)) == 1


def test_no_counts_are_nowhere() -> None:
    assert measure([], genes(3, 4)).elsewhere(np.array([3])) == 0
    assert measure([COUNTS[3:]], genes(1, 2, 3, 4)).unknown == 1


def test_genes_that_are_left_out_are_unknown() -> None:
    match = genes(9, 5, -1, 7).among(np.array([5, 7]))
    assert match.token.tolist() == [-1, 5, -1, 7]
    assert match.status.tolist() == ["unknown", "symbol", "unknown", "symbol"]
    assert np.isnan(match.median).tolist() == [True, False, True, False]
