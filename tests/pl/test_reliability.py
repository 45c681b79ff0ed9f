from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import genemamba as gm
from genemamba.errors import InputError


def test_bars_are_shares_right_and_the_histogram_their_cells(annotated):
    obs = annotated.obs[annotated.obs["genemamba_label"] != "unknown"]
    right = obs["cell_type"].astype(str) == obs["genemamba_label"].astype(str)
    ax = gm.pl.reliability(annotated, "cell_type", n_bins=5)
    bins = np.ceil(obs["genemamba_confidence"].to_numpy() * 5) - 1
    heights = [bar.get_height() for bar in ax.patches]
    for b in range(5):
        expected = right[bins == b].mean() if (bins == b).any() else np.nan
        assert heights[b] == pytest.approx(expected, nan_ok=True)
    counts = [bar.get_height() for bar in ax.child_axes[0].patches]
    assert counts == [np.sum(bins == b) for b in range(5)]
    error = gm.metrics.expected_calibration_error(obs["genemamba_confidence"], right, n_bins=5)
    said = ax.texts[0].get_text()
    assert f"ECE {error:.3f}" in said
    assert f"{len(obs)} cells\n{300 - len(obs)} unknown" in said
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("confidence", "fraction correct")


def test_on_given_axes_with_another_key(annotated):
    annotated.obs["mine_label"] = annotated.obs["cell_type"].astype(str)
    annotated.obs["mine_confidence"] = 1.0
    _, ax = plt.subplots()
    assert gm.pl.reliability(annotated, "cell_type", pred_key="mine_label", ax=ax) is ax
    assert "ECE 0.000" in ax.texts[0].get_text()


def test_bad_input(annotated):
    for column, value, said in (
        ("genemamba_confidence", np.nan, "none was predicted"),
        ("genemamba_confidence", 1.5, "not within 0 and 1"),
        ("genemamba_label", "unknown", "no cell with a name"),
    ):
        adata = annotated.copy()
        adata.obs[column] = value
        with pytest.raises(InputError, match=said):
            gm.pl.reliability(adata, "cell_type")
    with pytest.raises(InputError, match="'donor' is not a column"):
        gm.pl.reliability(annotated, "donor")
    del annotated.obs["genemamba_confidence"]
    with pytest.raises(InputError, match=r"gm\.tl\.annotate"):
        gm.pl.reliability(annotated, "cell_type")
