from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genemamba.errors import InputError
from genemamba.maps.arrays import map_arrays, write_arrays
from genemamba.maps.columns import MOST_VALUES, Columns, columns_of, names_of, read_column

NAMES = ["AAA-1", "", "Zelle ü", "细胞", "🧬" * 3, "x" * 300]


def kept(folder: Path, **columns: Any) -> Columns:
    """Write columns and names, and open them as a map does."""
    obs = pd.DataFrame(index=pd.Index(NAMES))
    for name, values in columns.items():
        obs[name] = read_column(pd.Series(values, index=obs.index), name, "adata")
    described, arrays = columns_of(obs)
    write_arrays(arrays | names_of(obs.index), folder / "cells.safetensors")
    return Columns(described, map_arrays(folder / "cells.safetensors"))


WORDS: dict[str, tuple[Any, list[Any]]] = {
    "words": (["b", "a", None, "b", "ü", np.nan], ["b", "a", np.nan, "b", "ü", np.nan]),
    "categories": (
        pd.Categorical(["T", "B", None, "T", "T", "B"], categories=["none has it", "T", "B"]),
        ["T", "B", np.nan, "T", "T", "B"],
    ),
    "booleans": ([True, False] * 3, ["True", "False"] * 3),
    "booleans, one missing": (
        pd.array([True, None, False, True, True, True], dtype="boolean"),
        ["True", np.nan, "False", "True", "True", "True"],
    ),
    "names that are numbers": (pd.Categorical([3, 1, 2, 3, 3, 3]), list("312333")),
    "nothing": ([None] * 6, [np.nan] * 6),
}


@pytest.mark.parametrize("what", WORDS)
def test_words_come_back(what: str, tmp_path: Path) -> None:
    given, expected = WORDS[what]
    if not isinstance(given, list):
        given = pd.Series(given, index=NAMES)
    columns = kept(tmp_path, of=given)
    assert not columns.is_number("of")
    found = columns.take("of", np.arange(6))
    pd.testing.assert_series_equal(pd.Series(found), pd.Series(expected, dtype=object))
    assert set(columns.values("of")) == {v for v in expected if isinstance(v, str)}
    np.testing.assert_array_equal(columns.codes("of") < 0, pd.isna(expected))


@pytest.mark.parametrize(
    "given", [[1, 2, 3, 4, 5, 6], [0.5, np.nan, -1, 1e9, np.inf, 0], pd.array([1, None] * 3)]
)
def test_numbers_come_back(given: Any, tmp_path: Path) -> None:
    columns = kept(tmp_path, of=pd.Series(given, index=NAMES))
    expected = np.asarray(pd.Series(given).astype(float))
    assert columns.is_number("of")
    np.testing.assert_array_equal(columns.take("of", np.arange(6)), expected)
    np.testing.assert_array_equal(columns.numbers("of", np.array([4, 1])), expected[[4, 1]])


def test_names_come_back(tmp_path: Path) -> None:
    columns = kept(tmp_path)
    assert columns.names == ()
    order = np.array([5, 0, 3, 1, 1, 2, 4])
    assert columns.cell_names(order).tolist() == [NAMES[i] for i in order]
    assert Columns({}, {}).cell_names(order[:2]).tolist() == ["5", "0"]


@pytest.mark.parametrize(("n", "bytes_"), [(254, 1), (255, 2), (256, 2), (MOST_VALUES, 2)])
def test_many_values(n: int, bytes_: int) -> None:
    values = [f"v{i:05}" for i in range(n)]
    obs = pd.DataFrame({"of": read_column(pd.Series([*values, None]), "of", "adata")})
    described, arrays = columns_of(obs)
    (codes,) = arrays.values()
    assert codes.dtype.itemsize == bytes_
    columns = Columns(described, arrays)
    assert columns.codes("of").tolist() == [*range(n), -1]
    assert columns.take("of", np.arange(n)).tolist() == values


def test_too_many_values_are_names_of_cells() -> None:
    values = pd.Series([f"cell {i}" for i in range(MOST_VALUES + 1)])
    with pytest.raises(
        InputError, match=r"adata.obs\['of'\] has 20,001 .*'cell 0': they name"
    ) as e:
        read_column(values, "of", "adata")
    assert "leave this column out" in e.value.fix
