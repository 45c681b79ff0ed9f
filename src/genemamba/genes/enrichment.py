"""Gene sets in GMT files, and their enrichment in groups of genes."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.stats import false_discovery_control, hypergeom

from genemamba.errors import InputError


def read_gmt(path: str | PathLike[str]) -> dict[str, list[str]]:
    """Read gene sets from a GMT file, plain or gzipped: name, description, genes, tab-separated."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"there is no file {path}", "give the path of a GMT file, or a dictionary")
    sets: dict[str, list[str]] = {}
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    _read_line(line, f"{path}, line {number}", sets)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", "get a fresh copy") from error
    return sets


def _read_line(line: str, where: str, sets: dict[str, list[str]]) -> None:
    name, *rest = line.rstrip("\r\n").split("\t")
    genes = [gene for gene in rest[1:] if gene]
    if not genes:
        raise InputError(f"{where} has no gene", "GMT is: name, description, genes, tabs between")
    if name in sets:
        raise InputError(f"{where} repeats the name {name!r}", "give each set its own name")
    sets[name] = genes


def membership(sets: Mapping[str, Sequence[str]], genes: Sequence[str]) -> sparse.csr_array:
    """Mark which of `genes` each set contains, ``n_sets × n_genes`` int."""
    column = {gene: i for i, gene in enumerate(genes)}
    found = [sorted({column[g] for g in members if g in column}) for members in sets.values()]
    indptr = np.append(0, np.cumsum([len(f) for f in found]))
    indices = np.concatenate([np.asarray(f, dtype=np.int64) for f in found] or [np.array([], int)])
    data = np.ones(len(indices), dtype=np.int64)
    return sparse.csr_array((data, indices, indptr), shape=(len(found), len(genes)))


def common_names(
    of_set: sparse.csr_array, of_module: np.ndarray, genes: Sequence[str]
) -> list[str]:
    """Return the genes that the i-th set and the i-th module share, joined by ";"."""
    columns = np.split(of_set.indices, of_set.indptr[1:-1])
    return [
        ";".join(genes[g] for g in found if inside[g])
        for found, inside in zip(columns, of_module, strict=True)
    ]


def hypergeometric(
    overlap: np.ndarray, module_size: np.ndarray, set_size: np.ndarray, n_genes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the p-value of each overlap of a module (row) and a set (column), and the FDR.

    Tested is whether the overlap is as large or larger by drawing the module from `n_genes`.
    """
    p = hypergeom.sf(overlap - 1, n_genes, set_size[None, :], module_size[:, None]).clip(0, 1)
    return p, fdr(p)


def fdr(p: np.ndarray) -> np.ndarray:
    """Return Benjamini–Hochberg false discovery rates over all p-values; NaN is not counted."""
    out, tested = np.full(p.shape, np.nan), np.isfinite(p)
    if tested.any():
        out[tested] = false_discovery_control(p[tested])
    return out
