"""Columns that name groups: one reading of them for every tool, metric and plot."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from genemamba._labels import column, full_column, names
from genemamba.errors import InputError

NONE = np.nan


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series([1, 2, 1]), ["1", "2", "1"]),
        (pd.Series([1, NONE, 2.0]), ["1", NONE, "2"]),  # integers that a missing one made floats
        (pd.Series([1, None, 2], dtype="Int64"), ["1", NONE, "2"]),
        (pd.Series([1, None, 2.0], dtype=object), ["1", NONE, "2"]),
        (pd.Series([2**60 + 1, -1]), [str(2**60 + 1), "-1"]),
        (pd.Series([1, 2], dtype="category"), ["1", "2"]),
        (pd.Series([True, False]), ["True", "False"]),
        (pd.Series(["a", "", " ", "nan", None]), ["a", NONE, NONE, NONE, NONE]),
        (pd.Series(["a", "<NA>"], dtype="category"), ["a", NONE]),
        (pd.Series([NONE, NONE]), [NONE, NONE]),
        (pd.Series([], dtype=float), []),
    ],
)
def test_names_of_groups(values, expected):
    found = names(values, "x")
    assert found.isna().tolist() == [n is NONE for n in expected]
    assert found.dropna().astype(str).tolist() == [n for n in expected if n is not NONE]
    pd.testing.assert_index_equal(found.index, values.index)


@pytest.mark.parametrize("dtype", ["float32", "float64", "Float64", object])
def test_measurements_are_no_names(dtype):
    with pytest.raises(InputError, match=r"obs\['x'\] holds fractions, e\.g\. 0\.5: measurements"):
        names(pd.Series([1, 0.5], dtype=dtype), "obs['x']")


class Cells:
    obs = pd.DataFrame({"donor": ["a", "b", ""], "long": ["a", "b", "c" * 1001]})


@pytest.mark.parametrize(
    ("read", "key", "message"),
    [
        (column, "batch", r"batch_key='batch' is not a column of reference\.obs; it has 'donor', "),
        (column, "long", r"reference\.obs\['long'\] holds a name of 1,001 characters"),
        (column, Cells.obs["donor"], "batch_key is a Series"),
        (full_column, "donor", r"reference\.obs\['donor'\] is missing \(NaN\) for 1 of 3 cells"),
    ],
)
def test_columns_that_cannot_be_read(read, key, message):
    with pytest.raises(InputError, match=message):
        read(Cells, key, "batch_key", "reference")
