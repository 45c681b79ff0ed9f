"""Whatever the tokeniser is given, it ranks by the stated rule or refuses with our own error."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
from anndata import AnnData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp
from scipy import sparse

import genemamba as gm
from genemamba.errors import GeneMambaError
from genemamba.tokens import as_csr, judge, linear, match

VOCAB = gm.models.vocabulary("genemamba-mini")
GENES = [*VOCAB.symbol[:40].tolist(), *VOCAB.ensembl_id[20:60].tolist(), "Cd3e", "", "NA", "7157"]
NAMES = (
    st.sampled_from(GENES)
    | st.sampled_from(VOCAB.ensembl_id[:9].tolist()).map(lambda name: name + ".12")
    | st.text(max_size=12)
    | st.from_regex(r"GM\d{4}|[ACGT]{12}-1|ENSMUSG\d{11}", fullmatch=True)
)
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
DTYPES = ["?", *("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"), *("f2", "f4", "f8", "g"),
          *(">f4", ">i2"), "c8"]  # fmt: skip


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray | sparse.spmatrix | sparse.sparray:
    """Draw what may stand in ``X``: any numbers in any storage."""
    shape = draw(st.tuples(st.integers(0, 5), st.integers(0, 8)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    likely = {"f": st.sampled_from([0.0, 1.0, 2.0, 3.0, 0.5, np.log1p(3), np.nan, np.inf, -1.0])}
    some = likely.get(dtype.kind, st.integers(0, 3)).map(dtype.type)
    dense = draw(stnp.arrays(dtype, shape, elements=some | stnp.from_dtype(dtype)))
    form = draw(st.sampled_from(["dense", "F", "masked", "csr", "csc", "array", "twice", "mixed"]))
    if form in ("dense", "F"):
        return np.asarray(dense, order="F" if form == "F" else "C")
    if form == "masked":
        return np.ma.masked_array(dense, mask=dense == 1)
    try:
        csr = sparse.csr_matrix(dense)
    except (TypeError, ValueError):  # a dtype scipy does not have
        return dense
    if form == "twice":  # every entry stored twice
        indices, data = np.repeat(csr.indices, 2), np.repeat(csr.data, 2)
        return sparse.csr_matrix((data, indices, csr.indptr * 2), shape=csr.shape)
    if form == "mixed":  # entries of a cell in any order
        order = np.concatenate([np.arange(*span)[::-1] for span in spans(csr)] or [[]]).astype(int)
        return sparse.csr_matrix((csr.data[order], csr.indices[order], csr.indptr), csr.shape)
    return {"csr": csr, "csc": csr.tocsc(), "array": sparse.csr_array(csr)}[form]


def spans(csr: sparse.csr_matrix) -> list[tuple[int, int]]:
    return list(zip(csr.indptr[:-1], csr.indptr[1:], strict=True))


def by_the_rule(counts: np.ndarray, token: np.ndarray, median: np.ndarray) -> list[list[int]]:
    """Rank in plain Python: highest count / total / median first, ties by token.

    Counts of columns that are one gene are added.
    """
    cells = []
    for row in counts:
        total = row.sum()
        of_gene = {int(t): row[token == t].sum() for t in set(token.tolist()) - {-1}}
        values = {
            t: float(f"{n / total / median[token == t][0]:.9e}")
            for t, n in of_gene.items()
            if n > 0
        }
        cells.append(sorted(values, key=lambda t: (-values[t], t)))
    return cells


@patient
@given(matrices(), st.lists(NAMES, min_size=8, max_size=8))
def test_any_matrix_is_ranked_by_the_rule_or_refused(matrix: object, names: list[str]) -> None:
    names = names[: matrix.shape[1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        var = pd.DataFrame(index=pd.Index(names, dtype=str))
        adata = AnnData(matrix, var=var)
    before = sparse.csr_matrix(matrix).toarray() if sparse.issparse(matrix) else matrix.copy()
    try:
        gm.pp.rank_tokenize(adata, max_tokens=8)
    except GeneMambaError as error:
        assert error.fix
        assert not adata.obsm and not adata.uns
    else:
        found = adata.obsm["genemamba_tokens"]
        genes = match(names, VOCAB)
        if adata.uns["genemamba"]["genemamba_tokens"]["values"] == "counts":
            dense = matrix.astype(np.float64)  # entries of a narrow type may add up to more
            dense = dense.toarray() if sparse.issparse(dense) else dense
            if np.abs(dense).max() < 1e15:  # beyond, sums of float64 are not exact
                tokens = [found.data[slice(*span)].tolist() for span in spans(found)]
                assert tokens == by_the_rule(dense, genes.token, genes.median)
    after = adata.X.toarray() if sparse.issparse(adata.X) else adata.X
    np.testing.assert_array_equal(after, before)


@patient
@given(st.lists(NAMES, max_size=40))
def test_names_are_each_matched_or_refused(names: list[str]) -> None:
    try:
        found = match(names, VOCAB)
    except GeneMambaError as error:
        assert error.fix
        return
    used = found.token[(found.token >= 0) & (found.status != "duplicate")]
    assert len(np.unique(used)) == len(used)
    assert set(found.token[found.status == "duplicate"]) <= set(used)
    assert sum(found.counts.values()) == len(names)
    assert set(found.status[found.token >= 0]) <= {"id", "symbol", "alias", "duplicate"}
    np.testing.assert_array_equal(np.isnan(found.median), found.token < 0)


@patient
@given(matrices())
def test_what_is_judged_to_be_logged_is_unlogged_to_finite_numbers(matrix: object) -> None:
    try:
        csr = as_csr(matrix)
        values = judge(csr)
    except GeneMambaError as error:
        assert error.fix
        return
    with np.errstate(all="raise"):
        assert np.isfinite(linear(csr, values).data).all()
    assert (values.base is not None) == (values.kind == "log1p")


@patient
@given(st.lists(st.integers(0, 30), min_size=2, max_size=60), st.integers(1, 2**31))
def test_a_cell_is_ranked_alike_among_others_and_alone(row: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.stack([rng.permutation(row) for _ in range(4)]).astype(np.int32)
    counts[:, 0] += 1  # no empty cell
    whole = ad.AnnData(counts, var=pd.DataFrame(index=VOCAB.symbol[100 : 100 + len(row)]))
    order = rng.permutation(len(row))
    turned = whole[[2], order].copy()
    for adata in (whole, turned):
        gm.pp.rank_tokenize(adata, max_tokens=64)
    one = turned.obsm["genemamba_tokens"].data
    np.testing.assert_array_equal(whole.obsm["genemamba_tokens"][[2]].data, one)
