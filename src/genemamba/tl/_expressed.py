"""The expression of cells on a list of genes, for classifiers that read it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from genemamba._expression import log_normalised
from genemamba.cells.expression import variable_genes
from genemamba.cells.read import read_counts
from genemamba.heads import Components
from genemamba.tl._embedding import Embedding, named
from genemamba.tokens import add_columns

_MOST = 20_000  # cells that genes and components are fitted to


def fit_components(
    cells: Embedding, labelled: np.ndarray, other: Embedding | None, rng: np.random.Generator
) -> tuple[Components, np.ndarray]:
    """Fit components of the labelled cells; return them, and those of each of these cells.

    Their genes are those that `other` cells measure, too.
    """
    basis = np.unique(cells.genes.tokens)
    if other is not None:
        basis = np.intersect1d(basis, other.genes.tokens)
    logged = sparse.vstack([*expressed_blocks(cells, basis)], format="csr")[labelled]
    few = logged
    if len(labelled) > _MOST:
        few = logged[np.sort(rng.choice(len(labelled), _MOST, replace=False))]
    components = Components.fit(few, basis, variable_genes(few))
    return components, components.of(logged, np.ones(len(basis), dtype=bool))


def components_of(cells: Embedding, components: Components) -> np.ndarray:
    """Return the components of all cells, block by block."""
    measured = np.isin(components.basis, cells.genes.tokens)
    parts = [components.of(block, measured) for block in expressed_blocks(cells, components.basis)]
    return np.concatenate(parts)


def expressed_blocks(cells: Embedding, basis: np.ndarray) -> Iterator[sparse.csr_matrix]:
    """Yield log1p of counts per 10,000 of these genes, cells × `basis`."""
    with named(cells.of):
        counts = read_counts(cells.adata, cells.reading.layer)
    token, column = np.unique(cells.genes.token, return_index=True)  # the first column of each gene
    there = np.isin(token, basis)
    column, place = column[there], np.searchsorted(basis, token[there])
    chosen = sparse.csr_matrix(
        (np.ones(len(place), dtype=np.float32), (column, place)),
        shape=(len(cells.genes.token), len(basis)),
    )
    for block in counts.parts():
        joined = sparse.csr_matrix(add_columns(block, cells.genes.token), dtype=np.float32)
        yield log_normalised(sparse.csr_matrix(joined @ chosen))
