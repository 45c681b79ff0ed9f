from __future__ import annotations

import pytest
from matplotlib.colors import to_rgba

import genemamba as gm
from genemamba.cells.colors import UNKNOWN_COLOR
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.pl._style import GREY, looks


def test_shows_types_batches_and_scores(annotated):
    before = repr(annotated)
    axes = gm.pl.embedding_quality(annotated, "cell_type", batch_key="batch")
    assert list(axes) == ["labels", "batch", "scores"]
    assert [t.get_text() for t in axes["labels"].get_legend().get_texts()] == ["T", "B", "mono"]
    assert [t.get_text() for t in axes["batch"].get_legend().get_texts()] == ["x", "y"]
    assert sum(len(c.get_offsets()) for c in axes["labels"].collections) == 300
    drawn = dict(
        zip(
            [t.get_text() for t in axes["scores"].get_yticklabels()],
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
    colors = {line.get_label(): line.get_color() for line in axes["labels"].lines}
    assert colors.pop("unknown") == UNKNOWN_COLOR
    assert not {*colors.values()} & {UNKNOWN_COLOR, GREY}
    n_unknown = (annotated.obs["genemamba_label"] == "unknown").sum()
    (cells,) = axes["labels"].collections
    assert (cells.get_facecolors() == to_rgba(UNKNOWN_COLOR)).all(axis=1).sum() == n_unknown


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
