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
def test_one_and_several(rebuilt: AnnData, kind: str, words) -> None:
    ax = gm.pl.reconstruction(rebuilt, kind)
    assert "10 cells" in words(ax)
    assert "hidden genes" in words(ax)
    drawn = gm.pl.reconstruction(rebuilt, kind, key=["genemamba", "mine"])
    assert list(drawn) == ["genemamba", "mine"]
    assert "genes after the first ones" in words(drawn["mine"])
    given = plt.subplots()[1]
    assert gm.pl.reconstruction(rebuilt, kind, ax=given) is given


def test_the_density_holds_every_rank(rebuilt: AnnData) -> None:
    ax = gm.pl.reconstruction(rebuilt)
    counts = ax.collections[0].get_array()
    assert counts.sum() == rebuilt.obsm["genemamba_reconstructed_rank"].nnz
    spearman = rebuilt.uns["genemamba"]["reconstruct"]["table"]["spearman"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "perfect (Spearman 1)",
        f"median of the model (Spearman {spearman['model']:.2f})",
        f"median of the mean ranking, ignores the cell (Spearman {spearman['mean ranking']:.2f})",
    ]
    assert ax.get_xlabel() == "true rank (1: most characteristic of the cell)"


def test_the_circles_count_genes(rebuilt: AnnData, words) -> None:
    overlap = rebuilt.uns["genemamba"]["reconstruct"]["overlap"]
    ax = gm.pl.reconstruction(rebuilt, "venn")
    both, asked = overlap["both"], overlap["asked"] + overlap["both"]
    assert f"Of {asked:.0f} hidden genes" in words(ax)
    assert f"predicts {both:.0f} mean of 10 cells" in words(ax)
    texts = [t.get_text() for t in ax.texts]
    assert texts[:2] == ["true genes", "predicted genes"]
    assert f"{overlap['asked']:.0f}\nmissed" in texts
    assert (f"{both:.0f}\nright" in texts) == (both >= 0.5)
    areas = [np.pi * patch.radius**2 for patch in ax.patches]
    assert areas == pytest.approx([asked, overlap["said"] + both])


def test_the_summary_says_what_each_row_is(rebuilt: AnnData) -> None:
    ax = gm.pl.reconstruction(rebuilt, "summary")
    legend = " ".join(t.get_text() for t in ax.get_legend().get_texts())
    assert "mean ranking, ignores the cell" in legend
    assert "copy, predicts nothing" in legend
    assert ax.get_yticklabels()[0].get_text() == "ranks agree\nSpearman"
    assert ax.get_xlabel() == "score (1: perfect)"


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
