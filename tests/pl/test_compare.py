from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import genemamba as gm
from genemamba.errors import InputError


def test_draws_the_table_that_compare_left(annotated):
    annotated.obsm["X_other"] = annotated.obsm["X_genemamba"][:, :2].copy()
    table = gm.metrics.compare(
        annotated, "cell_type", batch_key="batch", use_rep=["X_genemamba", "X_other"], baselines=[],
        verbose=False,
    )  # fmt: skip
    ax = gm.pl.compare(annotated)
    scores = [name for name in table if name != "kind" and not name.endswith("_sd")]
    assert len(ax.get_yticks()) == len(scores) == 7
    for row, drawn in zip(table.index, ax.containers, strict=True):
        expected = table.loc[row, scores].to_numpy(float)
        np.testing.assert_allclose(np.asarray(drawn.lines[0].get_xdata(), float), expected)
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["X_genemamba, given", "X_other, given"]
    assert "300 cells, 3 types of cell_type, leave one batch out" in ax.get_title()
    _, given = plt.subplots()
    assert gm.pl.compare(annotated, ax=given) is given


def test_rows_that_cannot_win_are_hollow(annotated):
    seen = {"label_key": "cell_type", "cells": annotated.obs_names.to_numpy(str)}
    annotated.uns["genemamba"] = {"X_genemamba": {"label_tuned": seen}}
    gm.metrics.compare(annotated, "cell_type", baselines=[], verbose=False)
    line = gm.pl.compare(annotated).containers[0].lines[0]
    assert line.get_markerfacecolor() == "white"
    assert line.get_label() == "_nolegend_" or "in-sample" in line.get_label()


def test_without_a_table(annotated):
    with pytest.raises(InputError, match=r"gm\.metrics\.compare\(adata, label_key\)"):
        gm.pl.compare(annotated)
