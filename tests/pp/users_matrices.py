"""Matrices as users have them, made of counts: what can be read, and what cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

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
