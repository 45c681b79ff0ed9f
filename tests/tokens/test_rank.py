from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from genemamba.errors import InputError
from genemamba.tokens import Ranked, add_columns, as_csr, rank_csr


def slow_rank(
    dense: np.ndarray, token: np.ndarray, median: np.ndarray, max_tokens: int
) -> list[list[int]]:
    """Stated rule, in plain Python: by value to 10 digits, then by token."""
    cells = []
    for row in dense.astype(np.float64):
        total = row.sum()
        sums: dict[int, float] = {}
        for gene, count in enumerate(row):
            if count > 0 and token[gene] >= 0:
                value = count / total * 1e4 / median[gene]
                sums[int(token[gene])] = sums.get(int(token[gene]), 0) + value
        values = {t: float(f"{value:.9e}") for t, value in sums.items()}
        cells.append(sorted(values, key=lambda t: (-values[t], t))[:max_tokens])
    return cells


def rank(matrix, token: np.ndarray, median: np.ndarray, max_tokens: int = 2048) -> Ranked:
    csr = as_csr(matrix)
    return rank_csr(csr.indptr, csr.indices, csr.data, token, median, max_tokens)


def cells_of(ranked: Ranked) -> list[list[int]]:
    return [
        ranked.tokens[start:stop].tolist()
        for start, stop in zip(ranked.indptr[:-1], ranked.indptr[1:], strict=True)
    ]


def counts(n_cells: int, n_genes: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    depth = rng.lognormal(0, 1, (n_cells, 1))
    return rng.poisson(depth * rng.lognormal(-1, 1.5, n_genes))


def genes(n_genes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    token = rng.permutation(n_genes).astype(np.int32) + 2
    token[rng.random(n_genes) < 0.2] = -1
    return token, rng.lognormal(0, 1, n_genes)


@pytest.mark.parametrize("repeats", [1, 50, 250])
def test_columns_of_one_gene_are_added(repeats: int) -> None:
    dense, (token, median) = counts(200, 300), genes(300)
    rng = np.random.default_rng(repeats)
    other, one = rng.permutation(300)[: 2 * repeats].reshape(2, -1) if repeats < 150 else (
        np.arange(50, 300), np.arange(250) % 50)  # fmt: skip
    token[other], median[other] = token[one], median[one]
    ranked = rank(dense, token, median, 100)
    assert cells_of(ranked) == slow_rank(dense, token, median, 100)
    np.testing.assert_array_equal(ranked.total, dense.sum(1))
    np.testing.assert_array_equal(ranked.known, dense[:, token >= 0].sum(1))
    csr = as_csr(dense.astype(np.uint16))
    found = add_columns(csr, token)
    assert found.dtype.itemsize == 8
    assert cells_of(rank(found, token, median, 100)) == cells_of(ranked)
    assert csr.dtype == np.uint16
    assert add_columns(csr, np.arange(300)) is csr


@pytest.mark.parametrize("max_tokens", [1, 17, 100, 2048])
def test_agrees_with_the_slow_rule(max_tokens: int) -> None:
    dense, (token, median) = counts(200, 300), genes(300)
    ranked = rank(dense, token, median, max_tokens)
    assert cells_of(ranked) == slow_rank(dense, token, median, max_tokens)
    assert ranked.tokens.dtype == np.int32
    assert ranked.indptr.dtype == np.int64
    assert ranked.n_cells == 200
    np.testing.assert_array_equal(ranked.lengths, [len(cell) for cell in cells_of(ranked)])
    np.testing.assert_array_equal(ranked.total, dense.sum(1))
    np.testing.assert_array_equal(ranked.known, dense[:, token >= 0].sum(1))


small = st.tuples(
    st.integers(0, 6), st.integers(1, 12), st.integers(0, 2**32 - 1), st.integers(1, 15)
)


@settings(max_examples=60, deadline=None)
@given(small)
def test_ties_agree_with_the_slow_rule(case: tuple[int, int, int, int]) -> None:
    n_cells, n_genes, seed, max_tokens = case
    rng = np.random.default_rng(seed)
    dense = rng.integers(0, 4, (n_cells, n_genes))
    token = np.where(rng.random(n_genes) < 0.8, rng.permutation(n_genes) + 2, -1)
    median = rng.choice([0.1, 0.2, 0.3, 1.0, 2.0, 3.0], n_genes)  # 1/0.1 = 2/0.2 = 3/0.3
    ranked = rank(dense, token, median, max_tokens)
    assert cells_of(ranked) == slow_rank(dense, token, median, max_tokens)


@settings(max_examples=30, deadline=None)
@given(small, st.floats(1e-6, 1e6))
def test_storage_columns_and_depth_change_nothing(
    case: tuple[int, int, int, int], depth: float
) -> None:
    n_cells, n_genes, seed, max_tokens = case
    dense = np.minimum(counts(n_cells, n_genes, seed), 100)  # fits int8
    token, median = genes(n_genes, seed)
    expected = cells_of(rank(dense, token, median, max_tokens))
    forms = [
        sparse.csc_matrix(dense),
        sparse.coo_matrix(dense),
        sparse.csr_array(dense),
        np.asfortranarray(dense),
        dense.astype(np.uint16),
        dense.astype(np.float32),
        sparse.csr_matrix(dense, dtype=np.int8),
        dense * depth,
    ]
    for form in forms:
        assert cells_of(rank(form, token, median, max_tokens)) == expected
    order = np.random.default_rng(seed).permutation(n_genes)
    permuted = rank(dense[:, order], token[order], median[order], max_tokens)
    assert cells_of(permuted) == expected


def test_explicit_zeros_and_empty_cells_have_no_tokens() -> None:
    csr = sparse.csr_matrix(
        (np.array([0.0, 3.0, 0.0, 0.0]), np.array([0, 1, 2, 0]), np.array([0, 3, 4, 4])),
        shape=(3, 3),
    )
    ranked = rank(csr, np.array([2, 3, 4]), np.ones(3))
    assert cells_of(ranked) == [[3], [], []]
    assert csr.nnz == 4


def test_nothing_known_and_no_cells() -> None:
    ranked = rank(np.ones((2, 3)), np.full(3, -1), np.full(3, np.nan))
    assert cells_of(ranked) == [[], []]
    assert (ranked.total.tolist(), ranked.known.tolist()) == ([3, 3], [0, 0])
    ranked = rank(np.ones((0, 3)), np.arange(3) + 2, np.ones(3))
    assert (ranked.n_cells, len(ranked.tokens)) == (0, 0)


def test_crowded_values_fall_back_to_a_plain_sort() -> None:
    rng = np.random.default_rng(0)
    token = rng.permutation(4000) + 2
    dense = np.ones((3, 4000))
    dense[:, 0] = 1e6
    ranked = rank(dense, token, np.ones(4000), 1000)
    expected = [token[0], *np.sort(token[1:])[:999]]
    assert cells_of(ranked) == [expected] * 3


def test_values_of_any_size_and_the_highest_token() -> None:
    values = np.array([[1e-300, 1e300, 5e-324, 1.0, np.finfo(float).max]])
    ranked = rank(values, np.array([65_535, 65_534, 2, 3, 4]), np.ones(5))
    assert cells_of(ranked) == [[4, 65_534, 3, 65_535, 2]]


def test_a_slice_of_larger_arrays() -> None:
    csr, (token, median) = as_csr(counts(150, 40)), genes(40)
    whole = rank(csr, token, median)
    part = rank_csr(
        csr.indptr[100:].astype(np.int64), csr.indices.astype(np.int64), csr.data, token, median, 99
    )
    assert cells_of(part) == cells_of(whole)[100:]


def test_read_only_input_is_enough() -> None:
    csr, (token, median) = as_csr(counts(5, 40)), genes(40)
    for array in (csr.indptr, csr.indices, csr.data, token, median):
        array.setflags(write=False)
    assert rank(csr, token, median).n_cells == 5


def test_two_threads_and_a_fork() -> None:
    csr, (token, median) = as_csr(counts(300, 200)), genes(200)
    expected = rank(csr, token, median).tokens
    with ThreadPoolExecutor(2) as pool:
        for ranked in pool.map(lambda _: rank(csr, token, median), range(8)):
            np.testing.assert_array_equal(ranked.tokens, expected)
    if sys.platform == "linux":
        child = os.fork()
        if child == 0:
            same = np.array_equal(rank(csr, token, median).tokens, expected)
            os._exit(0 if same else 1)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"token": np.array([2, 3, 65_536])}, "65536"),
        ({"token": np.array([2, 3])}, "shape"),
        ({"median": np.array([1.0, 0.0, 1.0])}, "median"),
        ({"median": np.array([1.0, np.nan, 1.0])}, "median"),
        ({"indices": np.array([0, 3])}, "column 3"),
        ({"indices": np.array([0, -1])}, "column"),
        ({"indices": np.array([0])}, "1 indices and 2 entries"),
        ({"indptr": np.array([0, 3])}, "indptr does not fit"),
        ({"indptr": np.array([0, 2, 1])}, "indptr does not fit"),
    ],
)
def test_arrays_that_do_not_fit(changes: dict, message: str) -> None:
    arrays = {
        "indptr": np.array([0, 2]),
        "indices": np.array([0, 1]),
        "data": np.array([1, 2]),
        "token": np.array([2, 3, 4]),
        "median": np.ones(3),
        "max_tokens": 5,
    }
    with pytest.raises(InputError, match=message):
        rank_csr(**(arrays | changes))


def test_as_csr_keeps_a_clean_csr() -> None:
    csr = sparse.csr_matrix(counts(3, 4))
    assert as_csr(csr) is csr


def test_as_csr_sums_duplicates_in_a_copy() -> None:
    arrays = (np.array([200, 100, 1], dtype=np.uint8), np.array([1, 1, 0]), np.array([0, 3]))
    csr = sparse.csr_matrix(arrays, shape=(1, 2))
    assert as_csr(csr).toarray().tolist() == [[1, 300]]
    assert csr.data.tolist() == [200, 100, 1]


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, ">i4", ">f8", np.uint64])
def test_as_csr_takes_any_number(dtype) -> None:
    matrix = np.array([[0, 2], [1, 0]], dtype=dtype)
    assert as_csr(matrix).toarray().tolist() == [[0, 2], [1, 0]]


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_as_csr_takes_a_numpy_matrix() -> None:
    assert as_csr(np.matrix([[0, 2]])).toarray().tolist() == [[0, 2]]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones(3), "1 dimension"),
        (np.ones((2, 2, 2)), "3 dimension"),
        (np.array([["a", "b"]]), "not numbers"),
        (np.array([[1, "b"]], dtype=object), "not numbers"),
        (np.ones((2, 2), dtype=complex), "not numbers"),
        (np.ones((2, 2), dtype=bool), "not numbers"),
        (sparse.csr_matrix(np.ones((2, 2), dtype=bool)), "not numbers"),
        (np.ma.masked_array(np.ones((2, 2)), mask=False), "masked"),
    ],
)
def test_as_csr_refuses(matrix, message: str) -> None:
    with pytest.raises(InputError, match=f"adata.X.*{message}"):
        as_csr(matrix, where="adata.X")
