"""A folder of count matrices, read into one corpus on common genes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from genemamba.errors import InputError
from genemamba.tokens import FIRST_GENE, Vocabulary, as_csr, match

SCALE = 10_000.0  # medians are in counts per 10,000


@dataclass(frozen=True, eq=False)
class Corpus:
    """Counts of many cells over one vocabulary.

    Attributes
    ----------
    counts
        Cells × genes of the vocabulary, CSR of int32.
    group
        For each cell the library it comes from, an index into `groups`.
    groups
        Names of the libraries, ``file/sample``.
    vocab
        Genes and their non-zero medians over these cells.
    """

    counts: sparse.csr_matrix
    group: np.ndarray
    groups: list[str]
    vocab: Vocabulary


def read_corpus(
    folder: Path, gene_names: Path, *, min_genes: int = 200, min_cells: int = 50
) -> Corpus:
    """Read every h5ad file of a folder; keep libraries of counts, cells and genes with data.

    A library (``obs["sample"]``, or the file) in which more than a fifth of the entries are not
    integers is left out; what is left is rounded.

    Parameters
    ----------
    folder
        Folder with ``*.h5ad`` files, counts in ``X``.
    gene_names
        CSV without header, Ensembl id and symbol. A file whose ``var`` has ``ensembl_id`` adds
        the names it uses as aliases.
    min_genes
        Cells with fewer known genes are left out.
    min_cells
        Genes seen in fewer cells are left out.

    Raises
    ------
    InputError
        If the folder holds no h5ad file.
    """
    paths = sorted(Path(folder).glob("*.h5ad"))
    if not paths:
        raise InputError(f"no .h5ad file in {folder}", "give the folder that holds the corpus")
    sets = {path.stem: ad.read_h5ad(path) for path in paths}
    named = pd.read_csv(
        gene_names, header=None, names=["id", "symbol"], dtype=str, keep_default_na=False
    )
    reference = _reference(named, [data.var for data in sets.values()])
    parts = [_read_one(data, name, reference, min_genes) for name, data in sets.items()]
    counts = sparse.vstack([part[0] for part in parts], format="csr")
    total = np.concatenate([part[1] for part in parts])
    library = np.concatenate([part[2] for part in parts])
    groups, group = np.unique(library, return_inverse=True)
    genes = np.flatnonzero(counts.getnnz(axis=0) >= min_cells)
    counts = counts[:, genes].tocsr()
    symbol = named.set_index("id")["symbol"]
    vocab = Vocabulary(
        ensembl_id=reference.ensembl_id[genes],
        symbol=np.array([symbol[i] if symbol[i] != i else "" for i in reference.ensembl_id[genes]]),
        median=nonzero_medians(counts, total),
        alias=reference.alias[genes],
        extra=("[MASK]",),
    )
    return Corpus(counts, group, groups.tolist(), vocab)


def nonzero_medians(counts: sparse.csr_matrix, total: np.ndarray) -> np.ndarray:
    """Exact median of count / cell total × 10,000 over the cells that express a gene."""
    csc = counts.tocsc().astype(np.float64)
    csc.data *= SCALE / total[csc.indices]
    columns = np.split(csc.data, csc.indptr[1:-1])
    return np.array([np.median(column) for column in columns])


def with_former_names(vocab: Vocabulary) -> Vocabulary:
    """Add names that genes had before, so that older data sets are matched too."""
    renamed = pd.read_csv(str(files("genemamba.datasets") / "renamed_genes.csv"))
    former = renamed.groupby("new")["old"].agg("|".join)
    alias = [
        "|".join(dict.fromkeys([*filter(None, known.split("|")), *former.get(s, "").split("|")]))
        for known, s in zip(vocab.alias, vocab.symbol, strict=True)
    ]
    return replace(vocab, alias=np.array([a.strip("|") for a in alias]))


def _reference(named: pd.DataFrame, tables: Iterable[pd.DataFrame]) -> Vocabulary:
    """All genes with the names that mean one gene only; medians are of no use here."""
    named = named.sort_values("id", ignore_index=True)
    twice = named["symbol"].duplicated(keep=False) | (named["symbol"] == named["id"])
    row = {gene: i for i, gene in enumerate(named["id"])}
    known = {*named["id"], *named["symbol"][~twice]}
    alias: dict[int, list[str]] = {}
    for var in tables:
        for name, gene in zip(var.index, var.get("ensembl_id", []), strict=False):
            if gene in row and name not in known:
                known.add(name)
                alias.setdefault(row[gene], []).append(name)
    return Vocabulary(
        ensembl_id=named["id"].to_numpy(),
        symbol=named["symbol"].mask(twice, "").to_numpy(),
        median=np.ones(len(named)),
        alias=np.array(["|".join(alias.get(i, [])) for i in range(len(named))]),
    )


def _read_one(
    data: ad.AnnData, name: str, reference: Vocabulary, min_genes: int
) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Give counts over all genes of the reference, cell totals, and each cell's library."""
    x = as_csr(data.X)
    sample = data.obs.get("sample", pd.Series("all", index=data.obs_names)).astype(str)
    library = (name + "/" + sample).to_numpy()
    genes = match(data.var_names, reference, where=f"var_names of {name}").token - FIRST_GENE
    known = x[:, genes >= 0]
    keep = _in_counts(x, library) & (known.getnnz(axis=1) >= min_genes)
    total = np.asarray(x.sum(axis=1, dtype=np.float64)).ravel()[keep]
    known = known[keep].tocoo()
    counts = sparse.csr_matrix(
        (np.round(known.data).astype(np.int32), (known.row, genes[genes >= 0][known.col])),
        shape=(int(keep.sum()), reference.n_genes),
    )
    counts.eliminate_zeros()
    return counts, total, library[keep]


def _in_counts(x: sparse.csr_matrix, library: np.ndarray) -> np.ndarray:
    """For each cell, whether at most a fifth of the entries of its library are not integers."""
    cell = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    fractional = np.bincount(cell[x.data != np.round(x.data)], minlength=x.shape[0])
    entries = pd.DataFrame({"fractional": fractional, "all": np.diff(x.indptr)})
    summed = entries.groupby(library).transform("sum")
    return (summed["fractional"] <= 0.2 * summed["all"]).to_numpy()
