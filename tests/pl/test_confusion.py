from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

import genemamba as gm
from genemamba.errors import InputError
from genemamba.pl._style import GREY

CLASSES = ["T", "B", "mono", "unknown"]


def names(ticks):
    return [tick.get_text() for tick in ticks]


def test_types_without_cells_are_not_shown(annotated):
    labels = annotated.obs["genemamba_label"].cat.add_categories("of another tissue")
    annotated.obs["genemamba_label"] = labels
    few = annotated[annotated.obs["cell_type"] != "mono"].copy()
    few.obs["genemamba_confidence"] = few.obs["genemamba_confidence"].where(few.obs["batch"] == "x")
    ax = gm.pl.confusion(few, "cell_type")
    assert names(ax.get_xticklabels()) == CLASSES
    assert [name.split()[0] for name in names(ax.get_yticklabels())] == ["T", "B"]


def test_draws_scikit_learns_matrix(annotated, words):
    before = repr(annotated)
    truth, guess = (annotated.obs[c].astype(str) for c in ("cell_type", "genemamba_label"))
    expected = confusion_matrix(truth, guess, labels=CLASSES)[:3]
    drawn = gm.pl.confusion(annotated, "cell_type", normalize=False).images[0].get_array()
    np.testing.assert_array_equal(drawn, expected)
    ax = gm.pl.confusion(annotated, "cell_type")
    percent = 100 * expected / expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ax.images[0].get_array(), percent)
    written = {tuple(t.get_position()): t.get_text() for t in ax.texts}
    assert written[1, 1] == f"{percent[1, 1]:.0f}"
    assert len(written) == (percent.round() > 0).sum()
    frames = [patch.get_xy() for patch in ax.patches]
    assert frames == [(-0.5, -0.5), (0.5, 0.5), (1.5, 1.5)]  # where both names are the same
    assert names(ax.get_xticklabels()) == CLASSES  # categories in their order, unknown last
    sizes = truth.value_counts()
    assert names(ax.get_yticklabels()) == [f"{c} ({sizes[c]})" for c in CLASSES[:3]]
    assert f"300 cells; macro-F1 {gm.metrics.macro_f1(truth, guess):.2f}" in words(ax)
    assert "(1: all right)" in words(ax)
    assert ax.images[0].colorbar.ax.get_ylabel() == "% of the cells of a true type"
    assert repr(annotated) == before


def test_unknown_is_grey(annotated):
    ax = gm.pl.confusion(annotated, "cell_type")
    assert ax.images[1].get_array().mask.tolist() == [[False] * 0 + [True] * 3 + [False]] * 3
    red, green, blue, _ = ax.images[1].cmap(0.5)
    assert max(red, green, blue) - min(red, green, blue) < 0.1
    assert ax.get_xticklabels()[3].get_color() == GREY
    assert len(gm.pl.confusion(annotated[annotated.obs["genemamba_label"] != "unknown"].copy(),
                               "cell_type").images) == 1  # fmt: skip


def test_no_numbers_in_squares_too_small_for_them(annotated):
    _, small = plt.subplots(figsize=(1.2, 1.2))
    assert not gm.pl.confusion(annotated, "cell_type", ax=small).texts


def test_on_given_axes(annotated):
    _, axes = plt.subplots(1, 2)
    assert gm.pl.confusion(annotated, "cell_type", ax=axes[1]) is axes[1]
    assert not axes[0].images


def test_given_labels_are_no_predictions(annotated):
    annotated.obs["genemamba_label"] = annotated.obs["genemamba_label"].astype(str)
    given = annotated.obs_names[:100]
    annotated.obs.loc[given, "genemamba_label"] = annotated.obs.loc[given, "cell_type"].astype(str)
    annotated.obs.loc[given, "genemamba_confidence"] = np.nan
    assert gm.pl.confusion(annotated, "cell_type").get_title().count("200 cells")


def test_bad_input(annotated):
    with pytest.raises(InputError, match="'donor' is not a column"):
        gm.pl.confusion(annotated, "donor")
    annotated.obs["numbers"] = np.arange(300) / 2
    with pytest.raises(InputError, match="holds fractions"):
        gm.pl.confusion(annotated, "numbers")
    annotated.obs["cell_type"] = annotated.obs["cell_type"].where(annotated.obs["batch"] == "x")
    with pytest.raises(InputError, match=r"missing \(NaN\)"):
        gm.pl.confusion(annotated, "cell_type")
    del annotated.obs["genemamba_label"]
    with pytest.raises(InputError, match=r"gm\.tl\.annotate\(adata\)"):
        gm.pl.confusion(annotated, "batch")
