from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

from genemamba.errors import InputError
from genemamba.tokens import as_csr, judge, linear
from genemamba.tokens.values import Values

BASES = [math.e, 2.0, 10.0]


def counts(n_cells: int = 60, n_genes: int = 400, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    depth = rng.lognormal(0, 0.5, (n_cells, 1))
    return rng.poisson(depth * rng.lognormal(-1.5, 1.5, n_genes)).astype(np.float64)


def scaled_to(dense: np.ndarray, target: float) -> np.ndarray:
    return dense / dense.sum(1, keepdims=True) * target


def log1p(dense: np.ndarray, base: float = math.e) -> np.ndarray:
    return np.log1p(dense) / math.log(base)


def kind(dense: np.ndarray, **kwargs) -> str:
    return judge(as_csr(dense), **kwargs).kind


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float32, np.float64])
def test_whole_numbers_are_counts(dtype) -> None:
    dense = np.minimum(counts(), 200).astype(dtype)
    assert judge(as_csr(dense)).base is None
    assert kind(dense) == "counts"
    assert kind((dense > 0).astype(dtype)[:5]) == "counts"  # few cells may be all ones
    with pytest.raises(InputError, match="only one value"):
        kind((dense > 0).astype(dtype))
    assert kind(dense, log1p_hint=math.e) == "counts"  # a note left from another matrix


@pytest.mark.parametrize("target", [1.0, 1e4, 1e6])
def test_counts_by_a_size_factor_are_normalised(target: float) -> None:
    dense = scaled_to(counts(), target)
    assert kind(dense) == kind(dense.astype(np.float32)) == "normalised"
    assert kind(dense, log1p_hint=math.e) == "normalised"
    assert kind(dense[:, :100]) == "normalised"


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("target", [None, 2e3, 1e4, 1e6])
@pytest.mark.parametrize("decimals", [None, 3])
def test_log1p_and_its_base(base: float, target: float | None, decimals: int | None) -> None:
    dense = counts() if target is None else scaled_to(counts(), target)
    logged = log1p(dense, base).astype(np.float32)
    if decimals:
        logged = logged.round(decimals)
    assert judge(as_csr(logged)).base == base
    assert judge(as_csr(logged[:, :150])).base == base
    wrong = BASES[BASES.index(base) - 1]
    assert judge(as_csr(logged), log1p_hint=wrong).base == base


@pytest.mark.parametrize("base", BASES)
def test_logged_tpm_is_told_by_equal_totals(base: float) -> None:
    per_length = counts() / np.random.default_rng(1).uniform(0.5, 5, 400)
    tpm = scaled_to(per_length, 1e6)
    assert kind(tpm) == "normalised"
    found = judge(as_csr(log1p(tpm, base)))
    assert (found.kind, found.base) == ("log1p", base)
    assert "same total" in found.reason
    assert "same total" in judge(as_csr(scaled_to(per_length, 20))).reason


def test_fractional_counts_are_linear() -> None:
    rng = np.random.default_rng(0)
    corrected = counts() * rng.uniform(0.8, 1, (60, 400))
    corrected[0, 0] = 80.3
    assert kind(corrected) == "normalised"
    shallow = np.minimum(counts(), 20)
    shallow[:, :20] *= 0.93
    assert kind(shallow) == "normalised"


@pytest.mark.parametrize("others", [[], ["whole"], ["hundredths"], ["whole", "hundredths"]])
def test_counts_corrected_for_collisions_are_not_square_roots(others: list[str]) -> None:
    """Of 256 identifiers: 1.002, 2.008, 3.018, …, whose squares are nearly whole up to 9.05."""
    dense = counts()
    corrected = -256 * np.log1p(-np.minimum(dense, 255) / 256)
    rng = np.random.default_rng(1)
    further = {
        "whole": dense[::-1] * 1000,
        "hundredths": np.round(dense * rng.gamma(4, 0.25, dense.shape), 2)[:8],
    }
    assert kind(np.vstack([corrected, *(further[name] for name in others)])) == "normalised"


def test_a_note_decides_where_entries_do_not() -> None:
    noise = np.random.default_rng(0).uniform(0.1, 5, (60, 40))
    with pytest.raises(InputError, match=r"adata.X holds fractions up to .* do not tell"):
        kind(noise, where="adata.X")
    assert judge(as_csr(noise), log1p_hint=2.0).base == 2.0
    noise[0, 0] = 49.0  # 10**49 counts: the note is not about this matrix
    with pytest.raises(InputError, match="do not tell"):
        kind(noise, log1p_hint=10.0)


TRANSFORMED = {
    "arcsinh": (np.arcsinh, "np.sinh"),
    "arcsinh by 5": (lambda x: np.arcsinh(x / 5), "np.sinh"),
    "square root": (np.sqrt, "np.square"),
    "cube root": (np.cbrt, ""),
    "acosh": (lambda x: np.arccosh(0.1 * x + 1), ""),
}


@pytest.mark.parametrize("name", TRANSFORMED)
@pytest.mark.parametrize("target", [None, 1e4])
@pytest.mark.parametrize("decimals", [7, 3])
def test_other_transformations_are_no_logs(name: str, target: float | None, decimals: int) -> None:
    transform, undo = TRANSFORMED[name]
    dense = counts() if target is None else scaled_to(counts(), target)
    with pytest.raises(InputError, match=undo or "do not tell"):
        kind(transform(dense).astype(np.float32).round(decimals))


def test_few_entries_do_not_decide() -> None:
    with pytest.raises(InputError, match="do not tell"):
        kind(np.array([[0.5, 1.0, 0.25]]))


def test_a_mixture_is_refused() -> None:
    mixed = counts()
    mixed[:30] = log1p(scaled_to(mixed[:30], 1e4))
    with pytest.raises(InputError, match="mixes cells"):
        kind(mixed)
    rare = log1p(scaled_to(counts(600), 1e4))
    rare[300] = counts()[0] * 100
    with pytest.raises(InputError, match="mixes cells"):
        kind(rare)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad: float) -> None:
    dense = counts()
    dense[3, 5] = dense[3, 9] = bad
    with pytest.raises(InputError, match=r"adata.X holds 2 NaN .* cell 3, gene 5 "):
        kind(dense, where="adata.X")


def test_negative_is_called_scaled() -> None:
    dense = counts() - 2.125
    with pytest.raises(InputError, match=r"negative values \(minimum -2.125\): it looks scaled"):
        kind(dense)
    with pytest.raises(InputError, match="negative"):
        kind(-np.ones((2, 2), dtype=np.int8))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_empty(shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"is empty: {shape[0]} cells by {shape[1]} genes"):
        kind(np.ones(shape))


def test_nothing_above_zero() -> None:
    with pytest.raises(InputError, match="no value above zero"):
        kind(np.zeros((3, 4)))
    stored = sparse.csr_matrix((np.zeros(2), np.array([0, 1]), np.array([0, 2])), shape=(1, 3))
    with pytest.raises(InputError, match="no value above zero"):
        judge(stored)


@pytest.mark.parametrize("dtype", [bool, complex])
def test_entries_that_are_no_numbers(dtype) -> None:
    with pytest.raises(InputError, match="not numbers"):
        judge(sparse.csr_matrix(np.ones((2, 2), dtype=dtype)))


@pytest.mark.parametrize("base", BASES)
def test_linear_undoes_the_log_in_a_copy(base: float) -> None:
    dense = scaled_to(counts(), 1e4)
    csr = as_csr(log1p(dense, base).astype(np.float32))
    before = csr.data.copy()
    undone = linear(csr, judge(csr))
    np.testing.assert_allclose(undone.toarray(), dense, rtol=1e-5)
    assert undone.dtype == np.float32
    assert np.shares_memory(undone.indices, csr.indices)
    np.testing.assert_array_equal(csr.data, before)


def test_linear_leaves_linear_values_alone() -> None:
    csr = as_csr(counts())
    assert linear(csr, Values("counts", None, "")) is csr


def test_scanpys_own_set() -> None:
    adata = pytest.importorskip("scanpy").datasets.pbmc68k_reduced()
    found = judge(as_csr(adata.raw.X))
    assert (found.kind, found.base) == ("log1p", math.e)
    with pytest.raises(InputError, match="looks scaled"):
        judge(as_csr(adata.X))
