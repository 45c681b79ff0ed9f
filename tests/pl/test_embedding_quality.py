from __future__ import annotations

import pytest
from matplotlib.colors import to_hex, to_rgba

import genemamba as gm
from genemamba.cells.colors import UNKNOWN_COLOR
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.pl._style import GREY, looks, looks_of


def test_shows_types_batches_and_scores(annotated, words):
    before = repr(annotated)
    axes = gm.pl.embedding_quality(annotated, "cell_type", batch_key="batch")
    assert list(axes) == ["labels", "batch", "scores"]
    for panel, column, order in (("labels", "cell_type", "T B mono"), ("batch", "batch", "x y")):
        n = annotated.obs[column].value_counts()
        legend = [t.get_text() for t in axes[panel].get_legend().get_texts()]
        assert legend == [f"{name} ({n[name]})" for name in order.split()]
    assert "each colour in its own place" in words(axes["labels"])
    assert "colours mixed everywhere" in words(axes["batch"])
    assert axes["scores"].get_xlabel().startswith("score (0 worst, 1 best")
    assert sum(len(c.get_offsets()) for c in axes["labels"].collections) == 300
    drawn = dict(
        zip(
            [t.get_text().split("\n")[1] for t in axes["scores"].get_yticklabels()],
            [bar.get_width() for bar in axes["scores"].patches],
            strict=True,
        )
    )
    assert drawn["AvgBIO"] == gm.metrics.avg_bio(annotated, "cell_type")
    assert drawn["AvgBATCH"] == gm.metrics.avg_batch(annotated, "batch", "cell_type")
    assert drawn["BRAS"] == gm.metrics.bras(annotated, "batch", "cell_type")
    assert drawn["iLISI"] == gm.metrics.ilisi(annotated, "batch")
    assert repr(annotated) == before


def test_unknown_is_grey_and_no_other_type_is(annotated):
    axes = gm.pl.embedding_quality(annotated, "genemamba_label")
    marks = axes["labels"].collections
    colors = {
        m.get_label(): to_hex(m.get_facecolor()[0]) for m in marks if len(m.get_facecolor()) == 1
    }
    n_unknown = (annotated.obs["genemamba_label"] == "unknown").sum()
    assert colors.pop(f"unknown ({n_unknown})") == UNKNOWN_COLOR
    assert not {*colors.values()} & {UNKNOWN_COLOR, GREY}
    cells = marks[0]
    assert (cells.get_facecolors() == to_rgba(UNKNOWN_COLOR)).all(axis=1).sum() == n_unknown


def test_scanpys_colors_are_kept_but_for_unknown(annotated):
    annotated.uns["genemamba_label_colors"] = ["#111111", "#222222", "#333333", "#444444"]
    found = dict(zip("Tmu", looks_of(annotated, "genemamba_label", ["T", "mono", "unknown"]),
                     strict=True))  # fmt: skip
    assert found == {"T": ("#222222", "o"), "m": ("#333333", "o"), "u": (UNKNOWN_COLOR, "o")}
    annotated.uns["genemamba_label_colors"] = ["no colour"] * 4
    assert looks_of(annotated, "genemamba_label", ["T"]) == looks(["T"])


def test_many_groups_look_different():
    names = [f"type {i}" for i in range(56)]
    assert len({*looks(names)}) == 56
    assert looks([*names, "unknown"])[:56] == looks(names)
    assert looks([*names, "unknown"])[56] not in looks(names)


def test_without_batches_and_in_sample(annotated):
    seen = {"label_key": "cell_type", "cells": annotated.obs_names.to_numpy(str)}
    annotated.uns["genemamba"] = {"X_genemamba": {"label_tuned": seen}}
    with pytest.warns(GeneMambaWarning, match="in-sample") as said:
        axes = gm.pl.embedding_quality(annotated, "cell_type")
    assert list(axes) == ["labels", "scores"]
    assert [w.filename for w in said if w.category is GeneMambaWarning] == [__file__]


def test_bad_input(annotated):
    with pytest.raises(InputError, match="no 'X_pca'"):
        gm.pl.embedding_quality(annotated, "cell_type", use_rep="X_pca")
    with pytest.raises(InputError, match="'donor' is not a column"):
        gm.pl.embedding_quality(annotated, "cell_type", batch_key="donor")
