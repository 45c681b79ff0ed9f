from __future__ import annotations

import numpy as np
import pytest

import genemamba as gm
from genemamba.errors import InputError
from genemamba.maps.found import CellSearch
from genemamba.maps.reference_map import ReferenceMap


@pytest.fixture
def found(small_map: ReferenceMap) -> CellSearch:
    return gm.tl.search(small_map.index.vectors(np.arange(10)), small_map, k=20)


def test_shares_next_to_those_of_the_map(found: CellSearch, words) -> None:
    ax = gm.pl.search(found, n=3)
    table = found.enrichment.query("column == 'bulk_labels'").nlargest(3, "share")
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, [*table["share"], *table["background"]])
    assert [t.get_text() for t in ax.get_yticklabels()] == table["value"].tolist()
    n = (found.cells["query"] == "all cells").sum()
    assert words(ax).startswith(
        f"query all cells: bulk_labels of the {n} most similar cells of blood"
    )
    assert "longer than grey: more frequent than on the whole map" in words(ax)
    text = [f" {row.found} cells, {row.fold:.3g}× the map" for row in table.itertuples()]
    assert [t.get_text() for t in ax.texts] == text
    assert max(ax.get_xticks()) <= 1
    assert len(gm.pl.search(found, column="batch", query="all cells").patches) == 4


def test_what_is_not_there(found: CellSearch, small_map: ReferenceMap, words) -> None:
    for how, said in (
        ({"column": "depth"}, "column='depth' is not in the result"),
        ({"query": "3"}, "query='3' is not in the result"),
        ({"n": 0}, "n=0 is not a whole number"),
    ):
        with pytest.raises(InputError, match=said):
            gm.pl.search(found, **how)
    with pytest.raises(InputError, match="result is a int"):
        gm.pl.search(5)
    one = small_map.index.vectors(np.arange(1))
    single = gm.tl.search(one, small_map, k=5)
    assert words(gm.pl.search(single)).startswith("query 0: bulk_labels")
    bare = CellSearch(found.cells, found.enrichment[:0], "blood", 350)
    with pytest.raises(InputError, match="the map keeps no column of words"):
        gm.pl.search(bare)
