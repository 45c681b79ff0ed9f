"""Groups of genes with like vectors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData

from genemamba._machine import same_threads
from genemamba._rng import Rng, seed_of
from genemamba._settings import check_positive, check_whole
from genemamba.errors import InputError
from genemamba.tl._gene_tables import GeneVectors, read_vectors


def gene_modules(
    embedding: GeneVectors,
    *,
    n_neighbors: int = 15,
    resolution: float = 1.0,
    rng: Rng = 0,
) -> pd.Series:
    """Group genes whose vectors point the same way.

    Leiden communities of the graph of nearest genes, by cosine. Analyse them with
    :func:`genemamba.tl.enrich`. Every embedding falls into communities, a random one too: only
    enrichment that a random embedding lacks speaks for them.

    Parameters
    ----------
    embedding
        Cells × genes: the vectors of the genes in these cells if
        ``gm.tl.gene_embedding(adata, kind="context")`` was run, otherwise those that the model has
        for them. Or a table of genes × dimensions. Rows that are constant or hold NaN are left out.
    n_neighbors
        Nearest genes of each, itself included.
    resolution
        Higher gives more, smaller modules.
    rng
        Seed, or generator, of graph and communities.

    Returns
    -------
    Categorical series ``module``, indexed by gene: ``"0"`` is the largest. Nothing is written.

    Raises
    ------
    InputError
        If it is neither cells nor a table of vectors, has no more genes than neighbours, or an
        argument is out of range.

    Examples
    --------
    >>> import genemamba as gm
    >>> immune = gm.tl.gene_embedding().filter(regex="^(CD|IL|HLA-)", axis=0)
    >>> gm.tl.gene_modules(immune).name
    'module'
    """
    if isinstance(embedding, Mapping):
        raise InputError(f"embedding is a {type(embedding).__name__}", "give one table of vectors")
    check_whole("n_neighbors", n_neighbors, least=2)
    check_positive("resolution", resolution, say=1)
    seed = seed_of(rng)
    table = list(read_vectors(embedding, "embedding").tables.values())[-1]
    if n_neighbors >= len(table):
        raise InputError(
            f"n_neighbors={n_neighbors} for {len(table):,} genes", "give fewer than there are genes"
        )
    x = table.to_numpy(dtype=np.float64)  # the squares of tiny numbers would be 0 in float32
    genes = AnnData(obs=pd.DataFrame(index=table.index))
    genes.obsm["X"] = x / np.linalg.norm(x, axis=1, keepdims=True)
    # exact neighbours: an approximate search differs with the number of threads
    with same_threads():
        sc.pp.neighbors(genes, n_neighbors, use_rep="X", transformer="sklearn", random_state=seed)
    sc.tl.leiden(
        genes, resolution, flavor="igraph", n_iterations=2, directed=False, random_state=seed
    )
    found = genes.obs["leiden"].rename("module").rename_axis("gene")
    largest_first = found.value_counts().index.tolist()  # igraph does not number them so
    names = {old: str(new) for new, old in enumerate(largest_first)}
    return found.cat.reorder_categories(largest_first).cat.rename_categories(names)
