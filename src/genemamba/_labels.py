"""Columns of obs that name groups of cells: cell types, donors, batches."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pandas as pd

from genemamba.errors import InputError

NONE = ["", "nan", "NaN", "None", "<NA>"]
_LONGEST_NAME = 1_000


class CellTable(Protocol):
    """What is read of an AnnData."""

    obs: pd.DataFrame
    obsm: Any
    uns: Any

    @property
    def obs_names(self) -> pd.Index: ...


def missing(values: pd.Series) -> np.ndarray:
    """Say of each label whether it is missing.

    NaN, None, NA; or text that is empty or what these become when a column is turned into text:
    files of R and of AnnData keep "" for a missing label.
    """
    none = values.isna().to_numpy()
    if pd.api.types.is_numeric_dtype(values):
        return none
    names = pd.Series(pd.unique(values.astype(object)), dtype=object)
    empty = names[names.astype(str).str.strip().isin(NONE)]
    return none | values.astype(object).isin(empty).to_numpy()


def names(values: pd.Series, what: str) -> pd.Series:
    """Return the names of groups, NaN where missing; whole numbers are names, measurements not."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        numeric = pd.api.types.is_numeric_dtype(values.cat.categories)
        values = values.astype(values.cat.categories.dtype) if numeric else values
    values = values.infer_objects()
    no_names = InputError(f"{what} holds values that are no names", "give a column of names")
    if pd.api.types.is_complex_dtype(values):
        raise no_names
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        try:
            longest = max((len(str(name)) for name in values.unique()), default=0)
        except TypeError:  # lists have no hash
            raise no_names from None
        if longest > _LONGEST_NAME:  # numpy gives every cell the width of the longest name
            raise InputError(
                f"{what} holds a name of {longest:,} characters",
                f"give a column with names of at most {_LONGEST_NAME:,}",
            )
        return values.mask(missing(values))
    codes, numbers = pd.factorize(values)
    fractions = numbers[numbers % 1 != 0]
    if len(fractions):
        raise InputError(
            f"{what} holds fractions, e.g. {fractions[0]:.6g}: measurements, not labels",
            "give a column of names, or cut the measurement into classes first (pandas.cut)",
        )
    named = np.array([str(int(number)) for number in numbers] + [np.nan], dtype=object)
    return pd.Series(named[codes], values.index, dtype=object)  # code -1, missing: the last


def column(adata: CellTable, key: Any, argument: str, of: str = "adata") -> pd.Series:
    """Return the :func:`names` in a column of ``obs``."""
    have = ", ".join(map(repr, adata.obs.columns))
    have = f"it has {have}" if have else "it is empty"
    if not isinstance(key, str):
        raise InputError(
            f"{argument} is a {type(key).__name__}, but cells came as an AnnData",
            f"give the name of a column of {of}.obs; {have}",
        )
    if key not in adata.obs:
        raise InputError(
            f"{argument}={key!r} is not a column of {of}.obs; {have}",
            "give the name of the column that holds cell types or batches",
        )
    return names(in_memory(adata.obs[key]), f"{of}.obs[{key!r}]")


def in_memory(values: Any) -> pd.Series:
    """Return a column of a table of pandas, or of a lazy one, which is an array of xarray."""
    return values if isinstance(values, pd.Series) else values.to_series()


def full_column(
    adata: CellTable,
    key: Any,
    argument: str,
    of: str = "adata",
    needed: np.ndarray | None = None,
) -> pd.Series:
    """Return the :func:`names` in a column of ``obs``; every cell that is `needed` must have one.

    `needed` is a mask of the cells; all of them, if there is none.
    """
    values, given = column(adata, key, argument, of), in_memory(adata.obs[key])
    without = values.isna().to_numpy() & (True if needed is None else needed)
    if without.any():
        known = f'{of}.obs["{key}"].notna()'
        if not given.isna()[without].all():  # "", or NaN as text
            known = f'~{of}.obs["{key}"].isin({sorted(set(map(str, given[without])))})'
        raise InputError(
            f"{of}.obs[{key!r}] is missing (NaN) for {without.sum()} of {len(values)} cells",
            f"leave these cells out: {of} = {of}[{known}].copy()",
        )
    return values
