from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import InputError
from genemamba.maps.reference_map import ReferenceMap
from genemamba.network import GeneMamba


@pytest.fixture
def mapped(pbmc: AnnData, small_map: ReferenceMap, small_model: GeneMamba) -> AnnData:
    cells = pbmc[1:101:2].copy()
    cells.X[0] = 0
    gm.tl.map(cells, small_map, model=small_model)
    quality = cells.obs["genemamba_map_quality"].to_numpy().copy()
    quality[1:] = 0.5
    quality[1:4] = 0.01
    cells.obs["genemamba_map_quality"] = quality
    return cells


def drawn(ax) -> dict[str, int]:
    return {c.get_label(): len(c.get_offsets()) for c in ax.collections if c.get_label()[0] != "_"}


def test_cells_in_colour_on_a_grey_map(mapped: AnnData, small_map: ReferenceMap) -> None:
    before = repr(mapped)
    ax = gm.pl.map(mapped, small_map, color="batch")
    assert repr(mapped) == before
    assert len(ax.collections[1].get_offsets()) == 350
    found = drawn(ax)
    assert found.pop("does not belong (3)") == 3
    assert sum(found.values()) == 46
    assert "50 cells on blood (350 cells, grey)" in ax.get_title()
    assert {t.get_text() for t in ax.texts} <= {*small_map.columns.values("bulk_labels")}


@pytest.mark.parametrize("color", [None, "genemamba_map_quality", "genemamba_map_depth", "number"])
def test_by_labels_and_measurements(
    color: str | None, mapped: AnnData, small_map: ReferenceMap
) -> None:
    mapped.obs["number"] = np.arange(50)
    gm.pl.map(mapped, small_map, color=color)


def test_what_is_missing(mapped: AnnData, small_map: ReferenceMap, pbmc: AnnData) -> None:
    with pytest.raises(InputError, match=r"X_umap_reference.* is missing"):
        gm.pl.map(pbmc, small_map)
    with pytest.raises(InputError, match="lie on the map 'blood', not on 'genemamba-body'"):
        gm.pl.map(mapped)
    with pytest.raises(InputError, match="'nowhere' is not a column"):
        gm.pl.map(mapped, small_map, color="nowhere")
    with pytest.raises(InputError, match="not an AnnData"):
        gm.pl.map(5, small_map)
    mapped.obs["genemamba_map_quality"] = np.float32(0)
    assert list(drawn(gm.pl.map(mapped, small_map))) == ["does not belong (50)"]
