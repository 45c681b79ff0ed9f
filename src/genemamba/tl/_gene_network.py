"""Genes near each other, in one embedding and in several."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba._keys import VAR_VARIABLE
from genemamba._rng import Rng, generator_of
from genemamba._settings import check_whole
from genemamba.cells.expression import read_expression, variable_genes
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.genes.enrichment import fdr
from genemamba.genes.network import adjacency, distance_matrix, jaccard_test, mean_distance
from genemamba.genes.results import GeneNetwork
from genemamba.tl._gene_tables import GeneVectors, Vectors, read_vectors

_MOST_GENES = 2_000


def gene_network(
    embeddings: GeneVectors | Mapping[str, pd.DataFrame],
    *,
    genes: Sequence[str] | None = None,
    threshold: Literal["mean"] | float = 0.01,
    n_permutations: int = 999,
    rng: Rng = 0,
) -> GeneNetwork:
    """Connect genes whose vectors lie close together, and compare the networks of several models.

    Two genes are connected if the Euclidean distance of their vectors is at most a threshold. By
    default that is 1 % of all pairs, the closest; the published threshold is the mean of all
    distances [1]_, which connects about half of them. How much of two such networks is shared by
    chance is found by renaming the genes of one.

    Parameters
    ----------
    embeddings
        Cells × genes: the vectors that the model has for their genes (``"static"``) and, after
        ``gm.tl.gene_embedding(adata, kind="context")``, those of the genes in these cells
        (``"context"``). Or a table of genes × dimensions, or several by name. Rows that are
        constant or hold NaN count as missing.
    genes
        The genes of the network, 3 to 2,000, by symbol, former symbol or Ensembl id; by default
        all that have a vector in every embedding. Of cells with more genes, the most variable:
        those of ``adata.var["highly_variable"]`` if it is there, otherwise 2,000.
    threshold
        Fraction of pairs to connect, closest first, or ``"mean"``. A fraction gives networks of
        the same size, whatever the distances in an embedding.
    n_permutations
        Renamings behind chance and p-value.
    rng
        Seed, or generator, of the renamings.

    Returns
    -------
    A frozen dataclass; nothing is written.

    ``edges``
        A row per pair connected in any network: ``gene_a``, ``gene_b``, for each embedding whether
        it has the edge, and ``shared``: whether all have it.
    ``overlap``
        A row per two embeddings, indexed by their names: ``jaccard``, edges of both over edges of
        either; ``by_chance``, its mean over renamings; ``p_value``, (b + 1) / (n + 1) where b of n
        renamings reach it; ``fdr``, Benjamini and Hochberg's over the rows.
    ``distances``
        By embedding, genes × genes, float64.
    ``threshold``
        By embedding, the largest distance at which genes are connected.

    Raises
    ------
    InputError
        If an embedding is not a table of vectors, genes of cells are not known, fewer than 3 or
        more than 2,000 genes are left, or a parameter is out of range.

    References
    ----------
    .. [1] Qi et al., *GeneMamba: Efficient and Effective Foundation Model on Single Cell Data*,
       appendix B.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.tl.gene_network(adata).genes.size
    756
    >>> genes = ["CD3D", "CD3E", "MS4A1", "CD79A", "LYZ", "S100A8"]
    >>> network = gm.tl.gene_network(adata, genes=genes, threshold=0.2)
    >>> len(network.edges)
    3
    """
    vectors = read_vectors(embeddings)
    if taken := {"gene_a", "gene_b", "shared"} & {*vectors.tables}:
        name = min(taken)
        raise InputError(
            f"embeddings[{name!r}] has the name of a column of the edges", "give it another name"
        )
    if threshold != "mean" and not (isinstance(threshold, float) and 0 < threshold < 1):
        raise InputError(f"threshold={threshold!r}", "use 'mean', or a share between 0 and 1")
    check_whole("n_permutations", n_permutations)
    generator = generator_of(rng)
    chosen = _choose(vectors, genes)
    tables = {name: table.loc[chosen].to_numpy() for name, table in vectors.tables.items()}
    distances = {name: distance_matrix(x) for name, x in tables.items()}
    limits = {name: _limit(d, threshold) for name, d in distances.items()}
    near = {name: adjacency(d, limits[name]) for name, d in distances.items()}
    return GeneNetwork(
        edges=_edges(near, chosen),
        distances={name: pd.DataFrame(d, chosen, chosen) for name, d in distances.items()},
        threshold=limits,
        overlap=_overlap(near, n_permutations, generator),
    )


def _choose(vectors: Vectors, genes: Sequence[str] | None) -> pd.Index:
    there = vectors.common
    if genes is not None:
        asked = [genes] if isinstance(genes, str) else genes
        chosen = pd.Index(list(dict.fromkeys(vectors.rows(asked))))
    elif len(there) > _MOST_GENES and vectors.cells is not None:
        chosen = there[there.isin(vectors.rows(_most_variable(vectors.cells)))]
    else:
        chosen = there
    missing = chosen[~chosen.isin(there)]
    chosen = chosen[chosen.isin(there)]
    if not 3 <= len(chosen) <= _MOST_GENES:
        raise InputError(
            f"{len(chosen):,} genes have a vector in every embedding; a network has 3 to "
            f"{_MOST_GENES:,}",
            "choose them by genes=[…], named as in the embeddings",
        )
    if len(missing):
        some = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        warnings.warn(
            f"genes without a vector are left out ({len(missing)}): {some}",
            GeneMambaWarning,
            stacklevel=3,
        )
    return chosen.rename("gene")


def _most_variable(adata: AnnData) -> pd.Index:
    if VAR_VARIABLE in adata.var:
        marked = adata.var[VAR_VARIABLE].eq(True).to_numpy(dtype=bool, na_value=False)
        if 0 < marked.sum() <= _MOST_GENES:
            return adata.var_names[marked]
    try:
        logged = read_expression(adata, None)
    except InputError as error:
        raise InputError(
            f"the most variable of {adata.n_vars:,} genes cannot be chosen: {error.what}",
            "name the genes of the network: genes=[…]",
        ) from None
    return adata.var_names[variable_genes(logged)]


def _limit(distances: np.ndarray, threshold: Literal["mean"] | float) -> float:
    if threshold == "mean":
        return mean_distance(distances)
    return float(np.quantile(distances[np.triu_indices(len(distances), 1)], threshold))


def _edges(near: Mapping[str, np.ndarray], genes: pd.Index) -> pd.DataFrame:
    rows, columns = np.nonzero(np.triu(np.any(list(near.values()), axis=0)))
    edges = pd.DataFrame({"gene_a": genes[rows], "gene_b": genes[columns]})
    for name, matrix in near.items():
        edges[name] = matrix[rows, columns]
    return edges.assign(shared=edges[list(near)].all(axis=1))


def _overlap(
    near: Mapping[str, np.ndarray], n_permutations: int, rng: np.random.Generator
) -> pd.DataFrame:
    two = list(combinations(near, 2))
    tested = [jaccard_test(near[a], near[b], n_permutations, rng) for a, b in two]
    index = pd.MultiIndex.from_tuples(two, names=["embedding_a", "embedding_b"])
    table = pd.DataFrame(tested, index, ["jaccard", "by_chance", "p_value"], dtype=float)
    return table.assign(fdr=fdr(table["p_value"].to_numpy()))
