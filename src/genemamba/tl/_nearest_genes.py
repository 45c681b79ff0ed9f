"""Genes with the most similar vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from genemamba._settings import check_whole
from genemamba.errors import InputError, shown
from genemamba.tl._gene_tables import GeneVectors, Vectors, read_vectors


def nearest_genes(
    embeddings: GeneVectors | Mapping[str, pd.DataFrame],
    genes: str | Sequence[str],
    *,
    n: int = 10,
) -> pd.DataFrame:
    """List the genes whose vectors are most similar to those of given genes.

    With cells, these are the genes of `adata` that are nearest in the model (``"static"``) and,
    after ``gm.tl.gene_embedding(adata, kind="context")``, also those nearest in these cells
    (``"context"``). To look among all genes of the model, give ``gm.tl.gene_embedding()``.

    Parameters
    ----------
    embeddings
        Cells × genes, of which only the names of the genes are read; or a table of genes ×
        dimensions, or several by name, as from :func:`genemamba.tl.gene_embedding`.
    genes
        One gene, or several: symbols, former symbols or Ensembl ids, in any case.
    n
        Number of genes to list for each.

    Returns
    -------
    Table; nothing is written. A row per gene asked for and gene found, nearest first: ``query``,
    ``vectors`` (``"static"``, ``"context"``, or the name of the table), ``rank`` (from 1),
    ``gene``, and ``cosine`` of the two vectors, −1 to 1. Genes are named as in `adata`, by symbol
    where it has Ensembl ids.

    Raises
    ------
    InputError
        If a gene is not known (with similar names), or has no vector.
    CheckpointError
        If the model is damaged.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> found = gm.tl.nearest_genes(adata, ["MS4A1", "CD3E"], n=3)
    >>> found.loc[found["query"] == "CD3E", "gene"].tolist()
    ['CD3D', 'CD3G', 'CD8B']
    """
    check_whole("n", n)
    if not isinstance(genes, Iterable):
        raise InputError(f"genes={shown(genes)} names no gene", "give names, such as 'MS4A1'")
    vectors = read_vectors(embeddings)
    asked = [genes] if isinstance(genes, str) else list(genes)
    if not asked:
        raise InputError("genes is empty", "name at least one gene")
    rows = list(dict.fromkeys(vectors.rows(asked)))
    for name in rows:
        if name not in vectors.known:
            raise vectors.unknown(name)
    return pd.concat([_nearest(vectors, row, n) for row in rows], ignore_index=True)


def _nearest(vectors: Vectors, row: str, n: int) -> pd.DataFrame:
    """List the genes nearest to one of them, table by table."""
    parts = []
    for name, table in vectors.tables.items():
        if row not in table.index:
            continue
        x = table.to_numpy(dtype=np.float64)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        own = table.index.get_loc(row)
        cosine = x @ x[own]
        nearest = np.argsort(-cosine, kind="stable")
        nearest = nearest[nearest != own][:n]
        parts.append(
            pd.DataFrame({
                "query": row,
                "vectors": name,
                "rank": np.arange(1, len(nearest) + 1),
                "gene": table.index[nearest],
                "cosine": cosine[nearest],
            })
        )  # fmt: skip
    return pd.concat(parts)
