from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

import genemamba as gm
from genemamba.errors import InputError
from genemamba.pl._style import COLORS


def test_bars_are_shares_right_and_the_histogram_their_cells(annotated, words):
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
    assert f"{len(obs)} cells, {right.mean():.0%} right" in words(ax)
    assert f"({300 - len(obs)} unknown left out)" in words(ax)
    assert f"(ECE) {error:.1%}, 0% is best" in words(ax)
    assert ax.get_xlabel() == "confidence of the prediction"
    assert ax.get_ylabel() == "cells that are right"
    assert [t.get_text().split(":")[0] for t in ax.texts] == ["above the line", "below the line"]


def test_bins_of_few_cells_are_faint(annotated):
    few = annotated[annotated.obs["genemamba_confidence"] > 0.85].copy()
    ax = gm.pl.reliability(few, "cell_type", n_bins=40)
    counts = np.array([bar.get_height() for bar in ax.child_axes[0].patches])
    full = [to_hex(bar.get_facecolor()) == COLORS[0] for bar in ax.patches]
    assert full == (counts >= 10).tolist()
    assert any(full)
    assert ((counts > 0) & (counts < 10)).any()
    assert ax.get_xlabel().endswith("faint: fewer than 10 cells")


def test_on_given_axes_with_another_key(annotated, words):
    annotated.obs["mine_label"] = annotated.obs["cell_type"].astype(str)
    annotated.obs["mine_confidence"] = 1.0
    _, ax = plt.subplots()
    assert gm.pl.reliability(annotated, "cell_type", pred_key="mine_label", ax=ax) is ax
    assert "(ECE) 0.0%" in words(ax)
    assert words(ax).count("unknown") == 0


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
