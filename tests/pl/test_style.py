"""What the plots share fits: titles, legends, names, dark figures."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex

from genemamba.pl._style import axes, faded, heading, ink, inks, legend_below, short, slanted

LONG = "a title of so many words that no axes of three inches could ever hold it on one line"


def test_a_title_is_as_wide_as_its_axes() -> None:
    ax = axes(None, 4, 3)
    heading(ax, LONG, "", "short")
    lines = ax.get_title().split("\n")
    assert len(lines) == 3
    assert lines[-1] == "short"
    assert min(map(len, lines[:-1])) > 15  # no single word
    ax.figure.draw_without_rendering()
    box = ax.title.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= ax.figure.bbox.x1
    assert box.y1 <= ax.figure.bbox.y1


@pytest.mark.parametrize("size", [(3, 3), (8, 5)])
def test_a_legend_is_under_the_names_and_in_the_figure(size: tuple[float, float]) -> None:
    ax = axes(None, *size)
    ax.plot([0, 2], [0, 1], label="line")
    slanted(ax, ["a", "a longer name", "b"])
    ax.set_xlabel("names")
    legend_below(ax)
    ax.figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    assert legend.y1 <= ax.xaxis.label.get_window_extent().y0 + 2
    assert legend.y0 >= 0


def test_long_names_keep_their_ends() -> None:
    assert short("B cell") == "B cell"
    name = "CD4-positive, alpha-beta memory T cell of the colon"
    assert short(name).startswith("CD4-positive")
    assert short(name).endswith("of the colon")
    assert len(short(name)) == 32
    assert len(short(name + "s")) == 32


def test_dark_figures_have_light_ink() -> None:
    with plt.style.context("dark_background"):
        ax = axes(None, 2, 2)
        assert ink() == "white"
        assert faded(ax, 0) == "#000000"
        assert to_hex(inks(ax)(1.0)) == "#ffffff"
    assert faded(axes(None, 2, 2), 0) == "#ffffff"
