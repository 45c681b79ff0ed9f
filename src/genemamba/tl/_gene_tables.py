"""Tables of gene vectors as the tools about genes take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from genemamba.errors import InputError

ONE = "embedding"
_FIX = (
    "give a table of genes × dimensions: gm.tl.gene_embedding(), or "
    'pd.DataFrame(adata.varm["X_genemamba_gene"], index=adata.var_names)'
)


def read_tables(embeddings: Any, name: str = "embeddings") -> dict[str, pd.DataFrame]:
    """Check one table or several by name; genes without a vector are left out.

    Raises
    ------
    InputError
        If there is none, or one is not a table of numbers, names a gene twice, or has one
        dimension.
    """
    if isinstance(embeddings, pd.DataFrame):
        return {ONE: _read_table(embeddings, name)}
    if not isinstance(embeddings, Mapping) or not embeddings:
        raise InputError(f"{name} is a {type(embeddings).__name__}, not a table", _FIX)
    return {str(k): _read_table(v, f"{name}[{k!r}]") for k, v in embeddings.items()}


def common_genes(tables: Mapping[str, pd.DataFrame]) -> pd.Index:
    """Return the genes that have a vector in every table, in the order of the first."""
    first, *others = (table.index for table in tables.values())
    for other in others:
        first = first[first.isin(other)]
    return first


def _read_table(table: Any, name: str) -> pd.DataFrame:
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"{name} is a {type(table).__name__}, not a table", _FIX)
    try:
        values = table.to_numpy(dtype=np.float32)
    except (TypeError, ValueError):
        raise InputError(f"{name} holds values that are not numbers", _FIX) from None
    if values.shape[1] < 2:
        raise InputError(f"{name} has {values.shape[1]} dimensions", "a vector has two or more")
    genes = table.index.astype(str)
    repeated = genes[genes.duplicated()]
    if len(repeated):
        raise InputError(
            f"{name} names {len(repeated)} genes more than once, such as {repeated[0]!r}",
            "keep one row per gene: table[~table.index.duplicated()]",
        )
    # all values alike is no direction: of a gene that no cell expresses, say
    known = np.isfinite(values).all(axis=1) & (values.min(axis=1) < values.max(axis=1))
    if not known.any():
        raise InputError(f"{name} has a vector for no gene: all rows are constant or NaN", _FIX)
    return pd.DataFrame(values[known], index=genes[known])
