from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import InputError, MapError
from genemamba.maps.reference_map import ReferenceMap
from genemamba.network import GeneMamba


@pytest.fixture
def query(pbmc: AnnData) -> AnnData:
    return pbmc[1:41:2].copy()


def test_single_cells(query: AnnData, small_map: ReferenceMap, small_model: GeneMamba) -> None:
    before = repr(query)
    found = gm.tl.search(query, small_map, model=small_model, k=5)
    assert repr(query) == before
    assert list(found.cells) == ["query", "rank", "cell", "distance", "bulk_labels", "batch",
                                 "depth"]  # fmt: skip
    assert found.cells["query"].tolist() == [name for name in query.obs_names for _ in range(5)]
    assert found.cells["rank"].tolist() == [1, 2, 3, 4, 5] * 20
    assert (found.map_name, found.n_cells) == ("blood", 350)
    assert found.enrichment["query"].unique().tolist() == ["all cells"]
    one = gm.tl.search(query[:1].copy(), small_map, model=small_model, k=5)
    assert one.enrichment["query"].unique().tolist() == [query.obs_names[0]]
    np.testing.assert_allclose(one.cells["distance"], found.cells["distance"][:5], rtol=1e-3)
    gm.tl.map(query, small_map, model=small_model, k=5)  # which finds the same
    np.testing.assert_array_equal(query.obsm["genemamba_map_distances"].ravel(),
                                  found.cells["distance"])  # fmt: skip


def test_groups_are_means(query: AnnData, small_map: ReferenceMap, small_model: GeneMamba) -> None:
    query.obs["group"] = np.where(np.arange(20) < 7, "ü", "b")
    query.X[0] = 0  # a cell without a known gene
    found = gm.tl.search(query, small_map, model=small_model, groupby="group", k=3)
    assert found.cells["query"].tolist() == ["b"] * 3 + ["ü"] * 3
    assert {*found.enrichment["query"]} == {"b", "ü"}
    query.obs["group"] = np.where(np.arange(20) < 1, "a", "b")
    found = gm.tl.search(query, small_map, model=small_model, groupby="group", k=3)
    assert found.cells["query"].unique().tolist() == ["b"]


def test_vectors(small_map: ReferenceMap) -> None:
    own = small_map.index.vectors(np.array([5, 9]))
    found = gm.tl.search(own, small_map, k=2)
    first = found.cells[found.cells["rank"] == 1]
    assert first["cell"].tolist() == small_map.columns.cell_names(np.array([5, 9])).tolist()
    assert (first["distance"] == 0).all()
    assert len(gm.tl.search(own[0], small_map, k=2).cells) == 2
    for wrong in (own[:, 1:], own[None], own.astype(int), own * np.nan, np.array(1.0)):
        with pytest.raises(InputError, match="the array has shape"):
            gm.tl.search(wrong, small_map)
    with pytest.raises(InputError, match="an array has none"):
        gm.tl.search(own, small_map, groupby="batch")


def test_excluded_cells_are_not_found_and_no_other_is_missed(small_map: ReferenceMap) -> None:
    own = small_map.index.vectors(np.arange(0, 350, 9))
    found = gm.tl.search(own, small_map, k=20, exclude={"batch": "a", "bulk_labels": ["CD19+ B"]})
    assert not (found.cells["batch"] == "a").any()
    assert not (found.cells["bulk_labels"] == "CD19+ B").any()
    columns = small_map.columns
    left = (columns.take("batch", np.arange(350)) != "a") & (
        columns.take("bulk_labels", np.arange(350)) != "CD19+ B"
    )
    assert found.n_cells == left.sum()
    vectors = small_map.index.vectors(np.flatnonzero(left))
    plain = np.sqrt(((own[:, None] - vectors[None]) ** 2).sum(axis=2))
    expected = np.sort(plain, axis=1)[:, :20]
    np.testing.assert_allclose(found.cells["distance"].to_numpy().reshape(-1, 20), expected,
                               rtol=1e-4, atol=1e-3)  # fmt: skip
    gm.tl.search(
        own, small_map, k=int(left.sum()), exclude={"batch": "a", "bulk_labels": "CD19+ B"}
    )
    with pytest.raises(InputError, match=r"k=200 is more than the 175 cells that are left"):
        gm.tl.search(own, small_map, k=200, exclude={"batch": "a"})
    with pytest.raises(InputError, match="the 0 cells that are left"):
        gm.tl.search(own, small_map, exclude={"batch": ["a", "b"]})


def test_another_model_and_too_many(
    query: AnnData, small_map: ReferenceMap, small_model: GeneMamba
) -> None:
    with pytest.raises(MapError, match="was made with the model"):
        gm.tl.search(query, small_map)
    with pytest.raises(InputError, match="k=351 is more than the 350 cells"):
        gm.tl.search(query, small_map, model=small_model, k=351)
