"""The guard on real cells in every state that users bring them in.

Each case is either read as what it is, or refused with a remedy; a refusal changes nothing.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

import genemamba as gm
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.network import GeneMamba
from genemamba.tokens import Sketch

Change = Callable[[AnnData], AnnData]


def values(f: Callable[[np.ndarray], Any]) -> Change:
    """Change what X holds."""

    def change(adata: AnnData) -> AnnData:
        adata.X = f(adata.X)
        return adata

    return change


def names(f: Callable[[str], str]) -> Change:
    """Change what genes are called."""

    def change(adata: AnnData) -> AnnData:
        adata.var_names = [f(name) for name in adata.var_names]
        return adata

    return change


def per_cell(x: np.ndarray, to: float) -> np.ndarray:
    return x / x.sum(1, keepdims=True) * to


def logged(base: float, to: float = 1e4) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: (np.log1p(per_cell(x, to)) / np.log(base)).astype(np.float32)


def put(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(x: np.ndarray) -> np.ndarray:
        x = x.astype(np.float64)
        x[5, 7] = value
        return x

    return change


def soup(x: np.ndarray) -> np.ndarray:
    """Take a share of the ambient profile away, as SoupX does without rounding."""
    ambient = x.sum(0) / x.sum()
    return np.maximum(x - 0.1 * x.sum(1, keepdims=True) * ambient, 0).astype(np.float32)


def by_length(x: np.ndarray) -> np.ndarray:
    return per_cell(x / np.random.default_rng(0).uniform(0.5, 8, x.shape[1]), 1e6)


def residuals(x: np.ndarray) -> np.ndarray:
    expected = x.sum(1, keepdims=True) * x.sum(0) / x.sum()
    return ((x - expected) / np.sqrt(expected + expected**2 / 100 + 1e-9)).astype(np.float32)


def scaled(x: np.ndarray) -> np.ndarray:
    logs = logged(np.e)(x)
    return (logs - logs.mean(0)) / (logs.std(0) + 1e-9)


def with_raw(adata: AnnData) -> AnnData:
    adata.raw = adata.copy()
    return values(scaled)(adata)


def with_layer(adata: AnnData) -> AnnData:
    adata.layers["counts"] = adata.X.copy()
    return values(scaled)(adata)


def repeated(adata: AnnData) -> AnnData:
    adata.var_names = [*adata.var_names[:-1], adata.var_names[0]]
    return adata


def no_names(adata: AnnData) -> AnnData:
    adata.var_names = [str(i) for i in range(adata.n_vars)]
    return adata


def in_column(adata: AnnData) -> AnnData:
    adata.var["symbol"] = adata.var_names.to_numpy()
    return no_names(adata)


def empty_cells(adata: AnnData) -> AnnData:
    adata.X[:3] = 0
    return adata


def no_x(adata: AnnData) -> AnnData:
    return AnnData(obs=adata.obs, var=adata.var)


def doubled(x: np.ndarray) -> sparse.csr_matrix:
    """Store every entry twice, as halves are summed."""
    csr = sparse.csr_matrix(x)
    n = np.repeat(np.arange(len(x)), np.diff(csr.indptr))
    both = (np.append(csr.data, csr.data), (np.append(n, n), np.append(csr.indices, csr.indices)))
    coo = sparse.coo_matrix(both, shape=x.shape)
    order = np.lexsort((coo.col, coo.row))
    return sparse.csr_matrix((coo.data[order], coo.col[order], csr.indptr * 2), shape=x.shape)


def yeast(adata: AnnData) -> AnnData:
    adata = adata.copy()
    adata.var_names = [n if i % 20 == 0 else f"YAL{i:03}C" for i, n in enumerate(adata.var_names)]
    return adata


def half_mouse(adata: AnnData) -> AnnData:
    adata = adata.copy()
    adata.var_names = [n.title() if i % 2 else n for i, n in enumerate(adata.var_names)]
    return adata


def two_genomes(adata: AnnData) -> AnnData:
    adata = adata.copy()
    adata.var_names = [
        f"mm10_{n.title()}" if i % 2 else f"GRCh38_{n}" for i, n in enumerate(adata.var_names)
    ]
    return adata


def upper_mouse(adata: AnnData) -> AnnData:
    """Human symbols are those of mice in upper case; what mice have beside them is not."""
    adata.var_names = [f"GM{10000 + i}" if i % 9 == 0 else n for i, n in enumerate(adata.var_names)]
    return adata


FIVE = ["CD3D", "CD79A", "LYZ", "NKG7", "CST3"]
IDS = {"CD3D": "ENSG00000167286", "LYZ": "ENSG00000090382", "CST3": "ENSG00000101439"}
GOOD: dict[str, tuple[Change, str]] = {
    "counts": (lambda a: a, "counts"),
    **{
        f"counts as {dtype}": (values(lambda x, d=dtype: np.minimum(x, 120).astype(d)), "counts")
        for dtype in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
                      "float16", "float32", "float64", ">f4", ">i4")
    },
    "counts, csr": (values(sparse.csr_matrix), "counts"),
    "counts, csc": (values(sparse.csc_matrix), "counts"),
    "counts, csr array": (values(sparse.csr_array), "counts"),
    "counts, entries stored twice": (values(doubled), "counts"),
    "counts, column by column": (values(np.asfortranarray), "counts"),
    "counts, a view": (lambda a: a[10:300, 5:700], "counts"),
    "counts, one cell": (lambda a: a[:1].copy(), "counts"),
    "counts, some cells empty": (empty_cells, "counts"),
    "counts, five genes": (lambda a: a[:, FIVE].copy(), "counts"),
    "counts, a gene twice": (repeated, "counts"),
    "counts, a genome before the name": (names(lambda n: f"GRCh38_{n}"), "counts"),
    "counts, of a mouse": (names(str.title), "counts"),
    "counts, of a mouse with genome": (names(lambda n: f"mm10___{n.title()}"), "counts"),
    "counts, versions of ids": (names(lambda n: f"{IDS[n]}.3" if n in IDS else n), "counts"),
    "log1p": (values(logged(np.e)), "log1p"),
    "log1p, base 2": (values(logged(2)), "log1p"),
    "log1p, base 10": (values(logged(10)), "log1p"),
    "log1p of CPM": (values(logged(np.e, 1e6)), "log1p"),
    "log1p of counts": (values(lambda x: np.log1p(x).astype(np.float32)), "log1p"),
    "log1p, sparse": (values(lambda x: sparse.csr_matrix(logged(np.e)(x))), "log1p"),
    "CP10k": (values(lambda x: per_cell(x, 1e4).astype(np.float32)), "normalised"),
    "CPM": (values(lambda x: per_cell(x, 1e6)), "normalised"),
    "TPM": (values(by_length), "normalised"),
    "soup taken away": (values(soup), "normalised"),
    "size factors": (values(lambda x: x / np.median(x.sum(1)) * x.sum(1).mean()), "normalised"),
}  # fmt: skip
BAD: dict[str, tuple[Change, str, str]] = {
    "scaled": (values(scaled), "negative", "counts"),
    "scaled, counts in raw": (with_raw, "negative", "use layer='raw'"),
    "scaled, counts in a layer": (with_layer, "negative", "use layer='counts'"),
    "residuals": (values(residuals), "negative", "counts"),
    "shifted": (values(lambda x: x - 1), "negative", "counts"),
    "NaN": (values(put(np.nan)), "NaN", "set it to 0"),
    "inf": (values(put(np.inf)), "infinite", "counts"),
    "-inf": (values(put(-np.inf)), "infinite", "counts"),
    "negative": (values(put(-2)), "negative", "counts"),
    "binary": (values(lambda x: (x > 0).astype(np.int32)), "only one value", "counts"),
    "bool": (values(lambda x: x > 0), "bool", "counts"),
    "complex": (values(lambda x: x.astype(complex)), "complex", "counts"),
    "all zero": (values(lambda x: x * 0), "no value above zero", "counts"),
    "logged and counts": (
        values(lambda x: np.vstack([logged(np.e)(x[:350]), x[350:]])), "mixes", "expm1"),
    "no cells": (lambda a: a[:0].copy(), "0 cells", "counts"),
    "no genes": (lambda a: a[:, :0].copy(), "0 genes", "counts"),
    "no X": (no_x, "is empty", "set adata.X"),
    "transposed": (lambda a: a.T.copy(), "genes of the model", "use adata.T"),
    "numbers for names": (no_names, "Entrez", "symbols"),
    "names in a column": (in_column, "genes of the model", "gene_ids='symbol'"),
    "mouse ids": (names(lambda n: f"ENSMUSG{abs(hash(n)) % 10**11:011}"), "mouse", "human"),
    "mouse symbols in upper case": (upper_mouse, "mouse genes in upper case", "organism='mouse'"),
    "zebrafish ids": (names(lambda n: f"ENSDARG{abs(hash(n)) % 10**11:011}"), "zebrafish", "human"),
    "zebrafish symbols": (names(str.lower), "zebrafish", "human"),
    "another species": (names(lambda n: f"ENSGALG{abs(hash(n)) % 10**11:011}"), "species", "human"),
    "yeast": (yeast, "yeast genes, such as 'YAL001C'", "human"),
    "half a mouse": (half_mouse, "of two organisms", "adata = adata["),
    "two genomes": (two_genomes, "of mouse (mm10_…)", "split them: own ="),
    "transcripts": (names(lambda n: f"ENST{abs(hash(n)) % 10**11:011}"), "transcripts", "human"),
}  # fmt: skip


def fingerprint(adata: AnnData) -> str:
    parts = [adata.X, adata.obs, adata.var, dict(adata.obsm), dict(adata.layers), dict(adata.uns)]
    parts.append(None if adata.raw is None else adata.raw.X)
    return hashlib.sha256(
        pickle.dumps([p.copy() if hasattr(p, "copy") else p for p in parts])
    ).hexdigest()


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize("case", GOOD)
def test_what_can_be_read_is_read_as_what_it_is(
    pbmc: AnnData, small_model: GeneMamba, case: str
) -> None:
    change, kind = GOOD[case]
    adata = change(pbmc)
    report = gm.pp.check(adata, model=small_model)
    assert report.ok, report
    assert report.values is not None
    assert (report.values.kind, report.values.doubt) == (kind, "")
    assert len(report.cells) == adata.n_obs
    assert len(report.genes) == adata.n_vars
    assert report.genes["share_of_counts"].sum() == pytest.approx(1)


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_refused_with_a_remedy(
    pbmc: AnnData, small_model: GeneMamba, case: str
) -> None:
    change, problem, fix = BAD[case]
    adata = change(pbmc)
    before = fingerprint(adata)
    report = gm.pp.check(adata, model=small_model)
    assert not report.ok
    assert problem in report.problem
    assert fix in report.fix
    with pytest.raises(InputError) as refused:
        gm.tl.embed(adata, model=small_model)
    assert (refused.value.what, refused.value.fix) == (report.problem, report.fix)
    assert fingerprint(adata) == before


def test_enough_cases() -> None:
    assert len(GOOD) + len(BAD) >= 60


def test_the_remedy_works(pbmc: AnnData, small_model: GeneMamba) -> None:
    report = gm.pp.check(with_layer(pbmc), model=small_model)
    assert report.sources == {"counts": "counts"}
    assert gm.pp.check(pbmc, model=small_model, layer="counts").ok
    turned = AnnData(pbmc.layers["counts"], obs=pbmc.obs, var=pbmc.var).T
    assert gm.pp.check(turned.T, model=small_model).ok


def test_counts_elsewhere_and_little_known_are_noted(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.layers["counts"] = pbmc.X.copy()
    pbmc = values(logged(np.e))(pbmc)
    report = gm.pp.check(pbmc, model=small_model)
    assert "counts are available: use layer='counts'" in report.notes
    assert any("only 7" in note and "are known" in note for note in report.notes)
    for text in (str(report), report._repr_html_()):
        assert "log1p" in text
        assert "layer=" in text


def test_rounded_logs_are_doubted(pbmc: AnnData, small_model: GeneMamba) -> None:
    rng = np.random.default_rng(0)  # deep cells: the fixture's have few genes
    share = rng.gamma(0.5, size=(60, 765)) + 1e-3
    deep = rng.poisson(per_cell(share, 8_000)).astype(np.float32)
    for x, doubted in ((deep, False), (np.rint(np.log1p(per_cell(deep, 1e4))), True)):
        report = gm.pp.check(AnnData(x, var=pbmc.var), model=small_model)
        assert report.ok
        assert any("rounded logs" in note for note in report.notes) == doubted
    with pytest.warns(GeneMambaWarning, match="rounded logs"):
        gm.tl.embed(AnnData(x, var=pbmc.var), model=small_model)


def test_shares_are_those_of_a_plain_count(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.var_names = [f"odd{i}" if i % 3 == 0 else n for i, n in enumerate(pbmc.var_names)]
    report = gm.pp.check(pbmc, model=small_model)
    odd = np.array([name.startswith("odd") for name in pbmc.var_names])
    x = pbmc.X
    lost = (x[:, odd] > 0).sum(1) / (x > 0).sum(1)
    np.testing.assert_allclose(report.cells["genes_lost"], lost)
    np.testing.assert_allclose(report.cells["counts_lost"], x[:, odd].sum(1) / x.sum(1))
    assert (report.genes["status"] == "unknown").sum() == odd.sum() == report.gene_status["unknown"]
    np.testing.assert_allclose(report.genes["share_of_counts"], x.sum(0) / x.sum())


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_stored_zeros_are_not_expressed(pbmc: AnnData, small_model: GeneMamba, layout: Any) -> None:
    pbmc.var_names = [f"odd{i}" if i % 3 == 0 else n for i, n in enumerate(pbmc.var_names)]
    expected = gm.pp.check(pbmc, model=small_model).cells
    stored = layout(pbmc.X + 1)
    stored.data -= 1
    assert stored.nnz == pbmc.X.size
    found = gm.pp.check(AnnData(stored, obs=pbmc.obs, var=pbmc.var), model=small_model).cells
    assert found["genes_lost"].to_numpy() == pytest.approx(expected["genes_lost"].to_numpy())


@pytest.mark.parametrize("n_unknown", [20, 250, 600])
def test_lost_counts_are_said_from_a_tenth_on(
    pbmc: AnnData, small_model: GeneMamba, n_unknown: int
) -> None:
    pbmc.var_names = [f"odd{i}" if i < n_unknown else n for i, n in enumerate(pbmc.var_names)]
    report = gm.pp.check(pbmc, model=small_model)
    much = report.cells["counts_lost"].mean() > 0.1
    assert much == (n_unknown > 20)
    said = "results use only part of each cell"
    assert any(said in note for note in report.notes) == much
    bare = pbmc.copy()
    for call in (
        lambda: gm.tl.embed(pbmc, model=small_model),
        lambda: gm.tl.annotate(
            bare, reference=bare.copy(), label_key="bulk_labels", model=small_model, method="knn"
        ),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        texts = [str(w.message) for w in caught if w.category is GeneMambaWarning]
        assert any(said in text for text in texts) == much


MOUSE: dict[str, tuple[Callable[[str, int], str], Callable[[str, int], str]]] = {
    "ids that are no genes, upper case": (lambda n, i: f"ENSMUSG9{i:010d}", lambda n, i: n),
    "numbers, ids that are no genes": (lambda n, i: str(i), lambda n, i: f"ENSMUSG9{i:010d}"),
}  # fmt: skip


@pytest.mark.parametrize("case", MOUSE)
def test_a_mouse_is_a_mouse_whatever_its_other_columns(
    pbmc: AnnData, small_model: GeneMamba, case: str
) -> None:
    names, column = MOUSE[case]
    pbmc.var["other"] = [column(n, i) for i, n in enumerate(pbmc.var_names)]
    pbmc.var_names = [names(n, i) for i, n in enumerate(pbmc.var_names)]
    report = gm.pp.check(pbmc, model=small_model)
    assert "mouse" in report.problem
    assert "gene_ids=" not in report.fix
    assert small_model.vocab is not None
    pbmc.var["orthologue"] = small_model.vocab.ensembl_id  # these are human for certain
    assert "gene_ids='orthologue'" in gm.pp.check(pbmc, model=small_model).fix


def test_a_column_of_mouse_symbols_is_named(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.var["name"] = [n.title() for n in pbmc.var_names]
    pbmc.var_names = [str(i) for i in range(pbmc.n_vars)]
    assert "use gene_ids='name'" in gm.pp.check(pbmc, model=small_model).fix
    report = gm.pp.check(pbmc, model=small_model, gene_ids="name")
    assert report.organism["name"] == "mouse"
    assert "genes have no human gene as their one-to-one orthologue" in report.rows()["organism"]
    upper = pbmc.copy()
    upper.var_names = [
        f"GM{10_000 + i}" if i % 9 == 0 else n.upper() for i, n in enumerate(pbmc.var["name"])
    ]
    fix = gm.pp.check(upper, model=small_model).fix
    assert "use gene_ids='name'" in fix
    assert "organism='mouse'" in fix


def test_numbered_rows_are_no_mouse(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.var["name"] = pbmc.var_names.to_numpy()
    pbmc.var["chosen"] = [False] * 765
    pbmc.var_names = [f"Gene{i}" for i in range(765)]
    report = gm.pp.check(pbmc, model=small_model)
    assert "the names were lost" in report.problem
    assert "gene_ids='name'" in report.fix


@pytest.mark.parametrize("how", ["backed", "path", "lazy"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_cells_that_are_not_in_memory(
    pbmc: AnnData, small_model: GeneMamba, how: str, tmp_path: Path
) -> None:
    pbmc.X = sparse.csr_matrix(pbmc.X)
    pbmc = ad.concat([pbmc] * 3, index_unique="-")
    file = tmp_path / ("cells.zarr" if how == "lazy" else "cells.h5ad")
    pbmc.write_zarr(file) if how == "lazy" else pbmc.write_h5ad(file)
    opened = {
        "backed": lambda: ad.read_h5ad(file, backed="r"),
        "path": lambda: file,
        "lazy": lambda: ad.experimental.read_lazy(file),
    }[how]()
    report = gm.pp.check(opened, model=small_model)
    assert report.ok
    assert len(report.cells) == 1024
    assert "in a sample of 1,024 cells" in str(report)
    assert report.n_cells == 2100


def test_of_scanpys_own_cells() -> None:
    report = gm.pp.check(sc.datasets.pbmc68k_reduced())
    assert not report.ok
    assert report.fix == "adata.raw.X holds log1p values: use layer='raw'"


def test_whether_the_model_was_trained_on_these_cells(
    pbmc: AnnData, small_model: GeneMamba
) -> None:
    said = "training cells"
    assert "no sketch" in gm.pp.check(pbmc, model=small_model).rows()[said]
    counts = sparse.csr_matrix(pbmc.X[:300])
    small_model.sketch = Sketch.of([counts], np.argsort(-counts.getnnz(0))[:100])
    report = gm.pp.check(pbmc, model=small_model)
    assert report.seen is not None
    assert report.seen.found == pytest.approx(300, abs=5)  # of cells with few genes nothing is said
    assert report.seen.looked_up > 650
    assert any("optimistic" in note for note in report.notes)
    unseen = gm.pp.check(pbmc[300:].copy(), model=small_model)
    assert unseen.seen is not None and unseen.seen.found == 0
    assert "none of " in unseen.rows()[said]
    logged = AnnData(np.log1p(per_cell(pbmc.X, 1e4)), var=pbmc.var)
    assert "needs raw counts" in gm.pp.check(logged, model=small_model).rows()[said]
    fewer = pbmc[:, pbmc.var_names != pbmc.var_names[small_model.sketch.genes[0]]].copy()
    assert "1 of the 100 genes" in gm.pp.check(fewer, model=small_model).rows()[said]


def test_how_long_embedding_takes(pbmc: AnnData, small_model: GeneMamba) -> None:
    report = gm.pp.check(pbmc, model=small_model)
    assert 0 < report.seconds < 60
    assert report.rows()["embedding takes"] == "less than half a minute"
    assert (
        replace(report, seconds=90).rows()["embedding takes"] == "about 1 min 30 s on this machine"
    )
