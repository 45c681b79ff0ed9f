from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd
import pytest

from genemamba.maps.columns import Columns, columns_of, read_column
from genemamba.maps.found import CellSearch, enrichment

OBS = pd.DataFrame({
    "tissue": ["gut", "gut", "lung", "gut", None, "lung", "skin", "gut", "gut", "lung"],
    "depth": np.arange(10.0),
    "empty": [None] * 10,
})  # fmt: skip


@pytest.fixture
def columns() -> Columns:
    obs = pd.DataFrame({name: read_column(OBS[name], name, "adata") for name in OBS})
    return Columns(*columns_of(obs))


def at_least(found: int, size: int, total: int, drawn: int) -> float:
    """Sum the hypergeometric probabilities."""
    ways = [comb(total, n) * comb(size - total, drawn - n) for n in range(found, drawn + 1)]
    return sum(ways) / comb(size, drawn)


def test_by_hand(columns: Columns) -> None:
    table = enrichment(columns, {"a": np.array([2, 5, 2, 0, 4])}, None, 10)  # 2 counts once
    assert table["column"].unique().tolist() == ["tissue"]  # numbers are not counted
    rows = table.set_index("value")
    assert rows.loc["lung", ["found", "share", "background"]].tolist() == [2, 0.5, 0.3]
    assert rows.loc["gut", ["found", "share", "background"]].tolist() == [1, 0.25, 0.5]
    assert rows.loc["lung", "fold"] == pytest.approx(0.5 / 0.3)
    assert rows.loc["lung", "p_value"] == pytest.approx(at_least(2, 10, 3, 4))
    assert rows.loc["gut", "p_value"] == pytest.approx(at_least(1, 10, 5, 4))
    assert "skin" not in rows.index
    ordered = sorted(table["p_value"])
    assert table["p_value"].tolist() == ordered
    np.testing.assert_allclose(table["fdr"], [min(2 * ordered[0], ordered[1]), ordered[1]])


def test_among_some_cells(columns: Columns) -> None:
    among = np.array([0, 1, 2, 3, 5])
    row = enrichment(columns, {"a": np.array([2, 5])}, among, 10).iloc[0]
    assert (row["value"], row["found"], row["background"]) == ("lung", 2, 0.4)
    assert row["p_value"] == pytest.approx(at_least(2, 5, 2, 2))


def test_several_queries_and_none(columns: Columns) -> None:
    table = enrichment(columns, {"b": np.array([6]), "a": np.array([0])}, None, 10)
    assert table["query"].tolist() == ["b", "a"]  # as given
    bare = enrichment(Columns({}, {}), {"a": np.array([0])}, None, 10)
    assert bare.empty
    assert list(bare) == list(table)
    found = CellSearch(pd.DataFrame({"query": ["a", "a"]}), table, "gut-map", 10)
    assert repr(found).startswith(
        "CellSearch  2 cells found for 1 query among 10 of gut-map\nb           "
    )
