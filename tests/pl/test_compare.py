from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import genemamba as gm
from genemamba.errors import InputError


def test_draws_the_table_that_compare_left(annotated, words):
    annotated.obsm["X_other"] = annotated.obsm["X_genemamba"][:, :2].copy()
    table = gm.metrics.compare(
        annotated, "cell_type", batch_key="batch", use_rep=["X_genemamba", "X_other"], baselines=[],
        verbose=False,
    )  # fmt: skip
    ax = gm.pl.compare(annotated)
    assert words(gm.pl.compare(table)) == words(ax)
    scores = [name for name in table if name != "kind" and not name.endswith("_sd")]
    assert len(ax.get_yticks()) == len(scores) == 7
    for row, drawn in zip(table.index, ax.containers, strict=True):
        expected = table.loc[row, scores].to_numpy(float)
        np.testing.assert_allclose(np.asarray(drawn.lines[0].get_xdata(), float), expected)
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert {"X_genemamba (given)", "X_other (given)"} < {*legend}
    assert "300 cells, 3 types of cell_type; leave one batch out" in words(ax)
    assert "mixes batches" in words(ax)
    assert ax.get_xlabel() == "score (0 worst, 1 best)"
    assert ax.get_yticklabels()[0].get_text() == "types predicted right\nmacro-F1"
    _, given = plt.subplots()
    assert gm.pl.compare(annotated, ax=given) is given


def test_rows_that_cannot_win_are_hollow(annotated):
    seen = {"label_key": "cell_type", "cells": annotated.obs_names.to_numpy(str)}
    annotated.uns["genemamba"] = {"X_genemamba": {"label_tuned": seen}}
    gm.metrics.compare(annotated, "cell_type", baselines=[], verbose=False)
    line = gm.pl.compare(annotated).containers[0].lines[0]
    assert line.get_markerfacecolor() == "#ffffff"
    legend = [text.get_text() for text in gm.pl.compare(annotated).get_legend().get_texts()]
    assert legend == ["X_genemamba (label-tuned, in-sample, not ranked)"]


def test_rings_are_on_the_best_and_those_tied(words) -> None:
    table = pd.DataFrame(
        {"kind": ["given", "baseline", "control"], "macro_f1": [0.8, 0.79, 0.9],
         "macro_f1_gap_sd": [0.0, 0.05, 0.0], "avg_bio": [0.5, 0.6, 0.1]},
        index=["a", "b", "random weights"],
    )  # fmt: skip
    ax = gm.pl.compare(table)
    (rings,) = [c for c in ax.collections if c.get_label().startswith("best")]
    assert sorted(x for x, _ in rings.get_offsets()) == [0.6, 0.79, 0.8]
    assert "bars: 1 SD over folds" in words(ax)


def test_without_a_table(annotated):
    with pytest.raises(InputError, match=r"gm\.metrics\.compare\(adata, label_key\)"):
        gm.pl.compare(annotated)
    with pytest.raises(InputError, match="no table"):
        gm.pl.compare(pd.DataFrame({"macro_f1": [1.0]}))


def test_scgraph_is_drawn_with_the_others(pbmc):
    pbmc.obs["half"] = np.repeat(["a", "b"], 350)
    pbmc.obsm["X_own"] = np.random.default_rng(0).normal(size=(700, 3)).astype("float32")
    table = gm.metrics.compare(
        pbmc, "bulk_labels", batch_key="half", use_rep="X_own", baselines=["hvg"]
    )
    assert table["scgraph"].notna().any()
    names = [label.get_text() for label in gm.pl.compare(table).get_yticklabels()]
    assert "types as far apart as in a batch\nscGraph" in names
