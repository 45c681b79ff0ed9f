"""The cells that a model is adapted to, on its genes."""

from __future__ import annotations

import warnings

import numpy as np
from anndata import AnnData
from scipy import sparse

from genemamba.cells.labels import full_column
from genemamba.cells.read import Reading, lost, no_genes, read_counts
from genemamba.datasets._of_counts import OwnCells
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.integration.halves import whole_counts
from genemamba.tokens import FIRST_GENE, MUCH_LOST, GeneMatch, Vocabulary, add_columns

FEWEST_CELLS, MOST_CELLS = 200, 20_000
FEWEST_GENES, SMALL_LIBRARY = 20, 30
JOINED = "small libraries"


def read_cells(
    adata: AnnData, vocab: Vocabulary, reading: Reading, batch_key: str | None, seed: int
) -> OwnCells:
    """Read the counts of cells and their libraries.

    Raises
    ------
    InputError
        If there are too few cells, or as for an embedding.
    """
    counts = read_counts(adata, reading.layer)
    genes = reading.matched(counts.var, vocab, adata.obs_names)
    libraries = np.full(adata.n_obs, "adata")
    if batch_key is not None:
        libraries = full_column(adata, batch_key, "batch_key").astype(str).to_numpy(dtype=str)
    _require_enough(adata.n_obs, "")
    parts, share = [], []
    for block in counts.parts():
        moved = on_genes(block, genes, vocab.n_genes, counts.values.kind)
        parts.append(moved)
        total = np.asarray(block.sum(axis=1)).ravel()
        known = np.asarray(block[:, genes.token >= 0].sum(axis=1)).ravel()
        share.append(1 - known / np.maximum(total, np.finfo(float).tiny))
    matrix = sparse.csr_matrix(sparse.vstack(parts, format="csr"))
    kept = np.flatnonzero(np.diff(matrix.indptr) >= FEWEST_GENES)
    if not matrix.nnz:
        raise no_genes()
    _require_enough(len(kept), f" with {FEWEST_GENES} genes or more that the model knows")
    gone = float(np.concatenate(share)[kept].mean())
    if gone > MUCH_LOST:
        warnings.warn(lost(gone), GeneMambaWarning, stacklevel=3)
    if len(kept) > MOST_CELLS:
        kept = np.sort(np.random.default_rng(seed).choice(kept, MOST_CELLS, replace=False))
    names, codes = np.unique(_joined(libraries[kept], batch_key), return_inverse=True)
    measured = np.zeros(vocab.n_genes, dtype=bool)
    measured[genes.tokens - FIRST_GENE] = True
    return OwnCells(sparse.csr_matrix(matrix[kept]), codes, names.tolist(), measured)


def on_genes(
    block: sparse.csr_matrix, genes: GeneMatch, n_genes: int, kind: str
) -> sparse.csr_matrix:
    """Return whole counts, cells × genes of the model; unknown genes are dropped."""
    whole = whole_counts(sparse.csr_matrix(add_columns(block, genes.token)), kind)
    column = np.flatnonzero(genes.token >= 0)
    place = (column, genes.token[column] - FIRST_GENE)
    moved = whole @ sparse.csr_matrix(
        (np.ones(len(column), dtype=np.int64), place), shape=(block.shape[1], n_genes)
    )
    moved = sparse.csr_matrix(moved)
    moved.eliminate_zeros()
    moved.sort_indices()
    return moved


def _joined(libraries: np.ndarray, batch_key: str | None) -> np.ndarray:
    """Join small libraries into one; if that is small as well, with the largest of the others."""
    names, codes, number = np.unique(libraries, return_inverse=True, return_counts=True)
    small = np.flatnonzero(number < SMALL_LIBRARY)
    if not len(small) or len(names) == 1:
        return libraries
    target = JOINED if number[small].sum() >= SMALL_LIBRARY else str(names[number.argmax()])
    shown = ", ".join(map(str, names[small][:5])) + (", …" if len(small) > 5 else "")
    warnings.warn(
        f"{len(small)} of {len(names)} libraries of {batch_key!r} have fewer than "
        f"{SMALL_LIBRARY} cells ({shown}): they are joined, as {target!r}",
        GeneMambaWarning,
        stacklevel=4,
    )
    return np.where(np.isin(codes, small), target, libraries.astype(object)).astype(str)


def _require_enough(n: int, which: str) -> None:
    if n < FEWEST_CELLS:
        raise InputError(
            f"adata has {n} cells{which}; adapting a model needs {FEWEST_CELLS}",
            "use the model unchanged, gm.tl.embed(adata), or add cells of the same tissue",
        )
