"""Columns of ``obs``, and names of cells, as arrays on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from genemamba.errors import InputError, shown

MOST_VALUES = 20_000
"""More different values name cells, not kinds of cells."""
_COLUMN, _TEXT, _END = "column.", "name.text", "name.end"


class Columns:
    """What a map keeps of its cells beside their vectors.

    Parameters
    ----------
    described
        Of each column, its values by code; None for a column of numbers.
    arrays
        Codes or numbers, one for each cell; perhaps on disk.
    """

    def __init__(
        self, described: Mapping[str, list[str] | None], arrays: Mapping[str, np.ndarray]
    ) -> None:
        self.described, self._arrays = described, arrays

    def __repr__(self) -> str:
        kept = [
            f"{name} ({'numbers' if values is None else f'{len(values):,} values'})"
            for name, values in self.described.items()
        ]
        return f"Columns: {', '.join(kept) or 'none'}"

    def __contains__(self, name: str) -> bool:
        return name in self.described

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.described)

    def values(self, name: str) -> tuple[str, ...]:
        """Return the different values of a column of words."""
        values = self.described[name]
        assert values is not None
        return tuple(values)

    def is_number(self, name: str) -> bool:
        """Whether a column holds measurements."""
        return self.described[name] is None

    def codes(self, name: str, cells: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the values of some cells, as int64 positions in `values`; -1 where missing."""
        found = np.asarray(self._arrays[_COLUMN + name][cells]).astype(np.int64)
        return np.where(found == _missing(self.values(name)), -1, found)

    def numbers(self, name: str, cells: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the measurements of some cells, float64."""
        return np.asarray(self._arrays[_COLUMN + name][cells]).astype(np.float64)

    def take(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Return the values of some cells as they were in ``obs``; missing ones are NaN."""
        if self.is_number(name):
            return self.numbers(name, cells)
        codes = self.codes(name, cells)
        return np.array([*self.values(name), np.nan], dtype=object)[codes]

    def cell_names(self, cells: np.ndarray) -> np.ndarray:
        """Return the names of some cells; their numbers if no names were kept."""
        if _END not in self._arrays:
            return np.array([str(cell) for cell in cells], dtype=object)
        text, end = self._arrays[_TEXT], self._arrays[_END]
        starts = np.where(cells > 0, end[cells - 1], 0)
        parts = zip(starts, end[cells], strict=True)
        return np.array([bytes(text[a:b]).decode("utf-8") for a, b in parts], dtype=object)


def read_column(values: pd.Series, name: str, where: str) -> pd.Series:
    """Return a column as float64 or as categorical of str; refuse what cannot be kept."""
    if pd.api.types.is_bool_dtype(values):
        values = values.map({True: "True", False: "False"})
    elif pd.api.types.is_numeric_dtype(values):
        return values.astype(np.float64)
    plain = values.astype(object)
    words = pd.Series(pd.Categorical(plain.where(plain.isna(), plain.astype(str))), values.index)
    if (n := len(words.cat.categories)) > MOST_VALUES:
        raise InputError(
            f"{where}.obs[{name!r}] has {n:,} different values, such as "
            f"{shown(words.cat.categories[0])}: they name cells, not kinds of cells",
            "leave this column out, or group its values",
        )
    return words


def key_of(name: str) -> str:
    """Name the array of a column."""
    return _COLUMN + name


def columns_of(obs: pd.DataFrame) -> tuple[dict[str, list[str] | None], dict[str, np.ndarray]]:
    """Return description and arrays of columns that `read_column` returned."""
    described: dict[str, list[str] | None] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, values in obs.items():
        if isinstance(values.dtype, pd.CategoricalDtype):
            used = values.cat.remove_unused_categories().cat
            kept = described[str(name)] = [str(value) for value in used.categories]
            codes = used.codes.to_numpy().astype(np.int64)
            dtype, missing = _dtype(kept), _missing(kept)
            arrays[f"{_COLUMN}{name}"] = np.where(codes < 0, missing, codes).astype(dtype)
        else:
            described[str(name)] = None
            arrays[f"{_COLUMN}{name}"] = values.to_numpy(np.float64)
    return described, arrays


def names_of(names: pd.Index) -> dict[str, np.ndarray]:
    """Return arrays of the names of cells: their text, and where each ends."""
    parts = [str(name).encode("utf-8") for name in names]
    text = np.frombuffer(b"".join(parts), dtype=np.uint8)
    return {_TEXT: text, _END: np.cumsum([len(part) for part in parts], dtype=np.int64)}


def _dtype(values: Any) -> type:
    return np.uint8 if len(values) < 255 else np.uint16


def _missing(values: Any) -> int:
    return int(np.iinfo(_dtype(values)).max)
