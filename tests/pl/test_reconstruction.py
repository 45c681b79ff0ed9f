from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.pl._reconstruction import _distance, _shared_area


@pytest.fixture
def rebuilt(pbmc: AnnData, small_model: GeneMamba) -> AnnData:
    gm.tl.reconstruct(pbmc, model=small_model, n_cells=10)
    gm.tl.reconstruct(pbmc, model=small_model, n_cells=5, key_added="mine", protocol="next")
    return pbmc


@pytest.mark.parametrize("kind", ["density", "venn", "summary"])
def test_one_and_several(rebuilt: AnnData, kind: str) -> None:
    ax = gm.pl.reconstruction(rebuilt, kind)
    assert "10 cells" in ax.get_title()
    drawn = gm.pl.reconstruction(rebuilt, kind, key=["genemamba", "mine"])
    assert list(drawn) == ["genemamba", "mine"]
    assert "next" in drawn["mine"].get_title()
    given = plt.subplots()[1]
    assert gm.pl.reconstruction(rebuilt, kind, ax=given) is given


def test_the_density_holds_every_rank(rebuilt: AnnData) -> None:
    ax = gm.pl.reconstruction(rebuilt)
    counts = ax.collections[0].get_array()
    assert counts.sum() == rebuilt.obsm["genemamba_reconstructed_rank"].nnz
    assert {"perfect", "model, median"} <= {t.get_text() for t in ax.get_legend().get_texts()}


def test_circles_share_the_area_asked_for() -> None:
    for a, b, area in ((3.0, 3.0, 5.0), (3.0, 1.0, 2.0), (2.0, 2.5, 0.1)):
        assert _shared_area(a, b, _distance(a, b, area)) == pytest.approx(area, rel=1e-6)
    assert _shared_area(3, 1, 0) == pytest.approx(np.pi)


def test_errors_name_the_call(rebuilt: AnnData) -> None:
    with pytest.raises(InputError, match="'pie' is unknown"):
        gm.pl.reconstruction(rebuilt, "pie")
    with pytest.raises(InputError, match="key_added='other'"):
        gm.pl.reconstruction(rebuilt, key="other")
    with pytest.raises(InputError, match="several"):
        gm.pl.reconstruction(rebuilt, key=["genemamba", "mine"], ax=plt.subplots()[1])
