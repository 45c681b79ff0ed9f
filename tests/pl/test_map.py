from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.colors import to_hex

import genemamba as gm
from genemamba.cells.colors import UNKNOWN_COLOR
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
    """Return the numbers of cells that the legend gives, by group."""
    entries = [text.get_text().rpartition(" (") for text in ax.get_legend().get_texts()]
    return {name: int(n.rstrip(")")) for name, _, n in entries}


def points(ax) -> int:
    """Count the marks on the map, without those of the map itself."""
    return sum(len(c.get_offsets()) for c in ax.collections[2:])


def test_cells_in_colour_on_a_grey_map(mapped: AnnData, small_map: ReferenceMap, words) -> None:
    before = repr(mapped)
    ax = gm.pl.map(mapped, small_map, color="batch")
    assert repr(mapped) == before
    assert len(ax.collections[1].get_offsets()) == 350
    found = drawn(ax)
    assert points(ax) == sum(found.values()) == 49
    assert found.pop("like no cell of the map") == 3
    assert "50 cells on the map blood (grey: its 350 cells)" in words(ax)
    assert "distances mean little" in words(ax)
    assert ax.get_legend().get_title().get_text() == "batch"
    assert {t.get_text() for t in ax.texts} <= {*small_map.columns.values("bulk_labels")}


@pytest.mark.parametrize("color", [None, "genemamba_map_quality", "genemamba_map_depth", "number"])
def test_by_labels_and_measurements(
    color: str | None, mapped: AnnData, small_map: ReferenceMap
) -> None:
    mapped.obs["number"] = np.arange(50)
    ax = gm.pl.map(mapped, small_map, color=color)
    assert points(ax) == 49


def test_cells_without_a_value_are_grey(mapped: AnnData, small_map: ReferenceMap) -> None:
    mapped.obs["number"] = np.where(np.arange(50) < 10, np.nan, 1.0)
    assert drawn(gm.pl.map(mapped, small_map, color="number"))["no value"] == 6
    named = np.where(np.arange(50) < 10, "unknown", "B")
    mapped.obs["named"] = pd.Categorical(named, categories=["unknown", "B", "no cell has it"])
    mapped.obs.loc[mapped.obs_names[-5:], "named"] = np.nan
    ax = gm.pl.map(mapped, small_map, color="named")
    assert list(drawn(ax)) == ["B", "unknown", "no value", "like no cell of the map"]
    colors = {
        c.get_label().split(" (")[0]: to_hex(c.get_facecolor()[0]) for c in ax.collections[2:]
    }
    assert colors["unknown"] == colors["no value"] == UNKNOWN_COLOR != colors["B"]


def test_forty_long_names_fit(mapped: AnnData, small_map: ReferenceMap) -> None:
    mapped.obs["long"] = [f"a cell type with a very long name, number {i % 40}" for i in range(50)]
    ax = gm.pl.map(mapped, small_map, color="long")
    assert all(len(name) <= 32 for name in drawn(ax))
    figure = ax.figure
    figure.draw_without_rendering()
    assert ax.get_window_extent().width > 3 * figure.dpi
    assert ax.get_legend().get_window_extent().x1 <= figure.bbox.x1


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
    assert list(drawn(gm.pl.map(mapped, small_map))) == ["like no cell of the map"]
