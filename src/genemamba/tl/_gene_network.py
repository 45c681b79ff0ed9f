"""Genes near each other, in one embedding and in several."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from genemamba._rng import generator_of
from genemamba._settings import check_whole
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.genes.enrichment import fdr
from genemamba.genes.network import adjacency, distance_matrix, jaccard_test, mean_distance
from genemamba.genes.results import GeneNetwork
from genemamba.tl._gene_tables import common_genes, read_tables

_MOST_GENES = 2_000


def gene_network(
    embeddings: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    genes: Sequence[str] | None = None,
    threshold: Literal["mean"] | float = "mean",
    n_permutations: int = 999,
    rng: int = 0,
) -> GeneNetwork:
    """Connect genes whose vectors lie close together, and compare the networks of several models.

    Two genes are connected if the Euclidean distance of their vectors is below a threshold; by
    default the mean of all distances, as published [1]_, which connects about half of all pairs.
    How much of two such networks is shared by chance is found by renaming the genes of one.

    Parameters
    ----------
    embeddings
        Table of genes × dimensions, or several by name, as from
        :func:`genemamba.tl.gene_embedding`. Rows that are constant or hold NaN count as missing.
    genes
        The genes of the network, up to 2,000; by default all that have a vector in every
        embedding.
    threshold
        ``"mean"``, or the fraction of pairs to connect, closest first, such as 0.05. A fraction
        gives networks of the same size, whatever the distances in an embedding.
    n_permutations
        Renamings behind chance and p-value.
    rng
        Seed of the renamings.

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
        By embedding, the distance below which genes are connected.

    Raises
    ------
    InputError
        If an embedding is not a table of vectors, fewer than 3 or more than 2,000 genes are left,
        or a parameter is out of range.

    References
    ----------
    .. [1] Qi et al., *GeneMamba: Efficient and Effective Foundation Model on Single Cell Data*,
       appendix B.

    Examples
    --------
    >>> import genemamba as gm
    >>> genes = ["CD3D", "CD3E", "MS4A1", "CD79A", "LYZ", "S100A8"]
    >>> network = gm.tl.gene_network(gm.tl.gene_embedding(), genes=genes, threshold=0.2)
    >>> len(network.edges)
    3
    """
    tables = read_tables(embeddings)
    if threshold != "mean" and not (isinstance(threshold, float) and 0 < threshold < 1):
        raise InputError(f"threshold={threshold!r}", "use 'mean', or a share between 0 and 1")
    check_whole("n_permutations", n_permutations)
    chosen = _choose(common_genes(tables), genes)
    distances = {name: distance_matrix(t.loc[chosen].to_numpy()) for name, t in tables.items()}
    limits = {name: _limit(d, threshold) for name, d in distances.items()}
    near = {name: adjacency(d, limits[name]) for name, d in distances.items()}
    return GeneNetwork(
        edges=_edges(near, chosen),
        distances={name: pd.DataFrame(d, chosen, chosen) for name, d in distances.items()},
        threshold=limits,
        overlap=_overlap(near, n_permutations, rng),
    )


def _choose(there: pd.Index, genes: Sequence[str] | None) -> pd.Index:
    chosen = there if genes is None else pd.Index(list(dict.fromkeys(map(str, genes))))
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
            f"{len(missing)} of the genes have no vector and are left out: {some}",
            GeneMambaWarning,
            stacklevel=3,
        )
    return chosen.rename("gene")


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


def _overlap(near: Mapping[str, np.ndarray], n_permutations: int, rng: int) -> pd.DataFrame:
    two = list(combinations(near, 2))
    generator = generator_of(rng)
    tested = [jaccard_test(near[a], near[b], n_permutations, generator) for a, b in two]
    index = pd.MultiIndex.from_tuples(two, names=["embedding_a", "embedding_b"])
    table = pd.DataFrame(tested, index, ["jaccard", "by_chance", "p_value"], dtype=float)
    return table.assign(fdr=fdr(table["p_value"].to_numpy()))
