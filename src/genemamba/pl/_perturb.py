"""Plot the tables of ``gm.tl.perturb``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from genemamba._docs import documented
from genemamba._keys import PERTURB, recorded
from genemamba.errors import InputError
from genemamba.pl._style import (
    COLORS,
    FEW,
    GREY,
    axes,
    check_choice,
    faded,
    grey_unknown,
    heading,
    legend_below,
    legend_right,
    rows,
    short,
    slanted,
)

Kind = Literal["dots", "controls"]
FDRS = (1, 0.1, 0.01)  # shown in the legend of sizes
DONE = {"delete": "Deleting", "overexpress": "Overexpressing"}
PAST = {"delete": "deleted", "overexpress": "overexpressed"}


@documented
def perturb(
    adata: AnnData,
    *,
    kind: Kind = "dots",
    group: str | None = None,
    key: str = PERTURB,
    ax: Axes | None = None,
) -> Axes:
    r"""Plot how strongly each perturbation shifts each group of cells, compared with chance.

    Plots what :func:`genemamba.tl.perturb` wrote to ``uns``. With a target state, colour and
    position are the ``score``: positive is towards it. Without one, they are the cosine shift, as
    a multiple of the controls' mean. Where fewer than ten cells changed, their number is written.

    Parameters
    ----------
    adata
        Cells that ``gm.tl.perturb`` was run on.
    kind
        ``"dots"``: perturbations × groups, larger where the false discovery rate is lower; a cross
        where nothing changed, an empty circle without a value (a group that is all there is of its
        state has no score). ``"controls"``: each perturbation of one group and its controls.
    group
        The group to plot with its controls; needed if there are several.
    key
        Prefix of the slots.
    {plotted}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()[:60].copy()
    >>> gm.tl.perturb(adata, ["CD79A", "CD3D"], layer="raw", n_controls=9)
    >>> gm.pl.perturb(adata, kind="controls").get_xlabel()
    'shift of the cells\n(1: as for other genes like it)'
    """
    check_choice("kind", kind, *get_args(Kind))
    entry = recorded(adata, key)
    if "control_table" not in entry:
        raise InputError(
            f"adata has no table of perturbations under {key!r}",
            "make it first: gm.tl.perturb(adata, genes)",
        )
    table, params = entry["table"].copy(), entry["params"]
    table["value"], scale = _value(table, params)
    if kind == "dots":
        return _dots(table, scale, params, ax)
    group = _one_group(table, group)
    controls = entry["control_table"].merge(
        table[["perturbation", "group", "cosine_controls"]], on=["perturbation", "group"]
    )
    controls["value"] = _value(controls, params)[0]
    tested = {name: table.get(f"{name}_tested", table.get(name)) for name in ("cosine", "score")}
    table["value"] = _value(table.assign(**tested), params)[0]  # over as many cells as the controls
    table, controls = (t[t["group"] == group] for t in (table, controls))
    if controls.empty:
        raise InputError(
            f"there are no controls in {group!r}",
            "run gm.tl.perturb with n_controls of 1 or more, and genes that these cells express",
        )
    cells = f"{group} ({_cells(table):,} cells)"
    title = f"{DONE[params['how']]} a gene in {cells}, compared with other genes like it"
    return _strips(table, controls, scale, title, ax)


class Scale(NamedTuple):
    """How to read the values."""

    label: str
    neutral: float | None = None
    """The value that means no effect; none, if there is neither target nor control."""
    colors: str = ""
    """What the colours around it mean."""


def _value(table: pd.DataFrame, params: Mapping[str, Any]) -> tuple[pd.Series, Scale]:
    """Return the values to draw, and how to read them."""
    if target := params["target"]:
        label = f"shift towards {target}\n(1: all the way, below 0: away)"
        return table["score"], Scale(label, 0, f"red: towards {target}, blue: away from it")
    if table["cosine_controls"].notna().any():
        scale = Scale("shift of the cells\n(1: as for other genes like it)", 1,
                      "red: more than other genes like it, blue: less")  # fmt: skip
        return table["cosine"] / table["cosine_controls"], scale
    return table["cosine"], Scale("shift of the cells\n(cosine distance, 0: none)")


def _named(perturbation: str) -> str:
    """Name genes perturbed together by the first two of them, if all do not fit."""
    first, *others = perturbation.split("+", 2)
    if short(perturbation) == perturbation or not others[1:]:
        return perturbation
    return f"{first}+{others[0]} and {others[1].count('+') + 1} more"


def _cells(table: pd.DataFrame) -> int:
    return int(table.drop_duplicates("group")["cells"].sum())


def _one_group(table: pd.DataFrame, group: str | None) -> str:
    known = table["group"].unique().tolist()
    if group is None and len(known) == 1:
        return str(known[0])
    if group not in known:
        raise InputError(
            "several groups were perturbed" if group is None else f"group={group!r} was not",
            f"give group, one of {', '.join(map(repr, known))}",
        )
    return str(group)


def _dots(table: pd.DataFrame, scale: Scale, params: Mapping[str, Any], ax: Axes | None) -> Axes:
    names, groups = (table[c].drop_duplicates().tolist() for c in ("perturbation", "group"))
    sizes = table.drop_duplicates("group").set_index("group")["cells"]
    ax = axes(ax, 4.4 + 0.55 * len(groups), 3.0 + 0.36 * len(names))
    x, y = table["group"].map(groups.index), table["perturbation"].map(names.index)
    moved, valued = table["changed"] > 0, table["value"].notna()
    size = _size(table["fdr_score" if "fdr_score" in table else "fdr_shift"].fillna(1))
    own, bare, still = moved & valued, moved & ~valued, ~moved
    dots = ax.scatter(
        x[own], y[own], s=size[own], c=table["value"][own], edgecolors=GREY, linewidths=0.6,
        **_colors(table["value"][own], scale.neutral),
    )  # fmt: skip
    ax.figure.colorbar(dots, ax=ax, label=scale.label)
    for which, look, text in (
        (still, {"marker": "x", "c": GREY, "linewidths": 0.9}, "changes no cell"),
        (bare, {"facecolors": "none", "edgecolors": GREY, "linestyle": ":"}, "no value"),
    ):
        if which.any():
            ax.scatter(x[which], y[which], s=30, **look, label=text)
    for column, row, n in zip(x[moved], y[moved], table["changed"][moved], strict=True):
        if n < FEW:
            ax.annotate(f"n={n}", (column, row), (0, -9), textcoords="offset points", fontsize=7,
                        ha="center", va="top")  # fmt: skip
    slanted(ax, [f"{name} ({sizes[name]:,})" for name in groups])
    ax.set_yticks(range(len(names)), [_named(name) for name in names])
    ax.set(xlim=(-0.6, len(groups) - 0.4), ylim=(len(names) - 0.4, -0.6))
    few = "\nn: cells that change, where few" if (table["changed"][moved] < FEW).any() else ""
    ax.set(xlabel=f"group (cells){few}", ylabel=f"gene {PAST[params['how']]}")
    ax.set_axisbelow(True)
    ax.grid(lw=0.5, alpha=0.4)
    ax.tick_params(length=0)
    grey_unknown(ax)
    tested = bool(table["controls"].any())
    for fdr, area in zip(FDRS if tested else (), _size(pd.Series(FDRS)), strict=False):
        ax.scatter([], [], s=area, c="none", edgecolors=GREY, label=f"FDR {fdr:g}")
    if ax.get_legend_handles_labels()[0]:
        legend_below(ax, ncols=5, title="larger: less likely by chance" * tested)
    whose = f"{_cells(table):,} cells" + (f" of {len(groups)} groups" if len(groups) > 1 else "")
    heading(ax, f"{DONE[params['how']]} a gene: how far {whose} move", scale.colors)
    return ax


def _colors(values: pd.Series, middle: float | None) -> dict[str, Any]:
    """Return colours around the value that means no effect, or from zero up."""
    if middle is None:
        return {"cmap": "viridis", "vmin": 0}
    far = max(float((values - middle).abs().max()), 1e-9) if len(values) else 1.0
    low = 0.0 if middle else -far
    return {"cmap": "RdBu_r", "norm": TwoSlopeNorm(middle, low, middle + far)}


def _size(fdr: pd.Series) -> pd.Series:
    return 30 + 90 * -np.log10(fdr.astype(float))


def _strips(
    table: pd.DataFrame, controls: pd.DataFrame, scale: Scale, title: str, ax: Axes | None
) -> Axes:
    """Draw a row for each perturbation: its controls, their central 95 %, and itself."""
    ax = axes(ax, 8.5, 2.0 + 0.55 * len(table))
    jitter = np.random.default_rng(0)
    test = "p_score" if "p_score" in table else "p_shift"
    names = []
    for y, row in enumerate(table.to_dict("records")):
        own = controls.loc[controls["perturbation"] == row["perturbation"], "value"].dropna()
        if len(own):
            ax.plot(np.quantile(own, [0.025, 0.975]), [y, y], color=faded(ax, 0.4, COLORS[0]), lw=9,
                    zorder=1)  # fmt: skip
        ax.scatter(own, y + jitter.uniform(-0.22, 0.22, len(own)), s=9, c=GREY, lw=0, zorder=2)
        if row["changed"]:
            ax.scatter(row["value"], y, s=60, c=COLORS[2], marker="D", zorder=3)
        tested = int(row.get("tested", row["changed"]))
        result = f"p = {row[test]:.2g} ({tested:,} {'cell' if tested == 1 else 'cells'})"
        said = result if row["changed"] else "changes no cell"
        names.append(f"{_named(row['perturbation'])}\n{said}")
    ax.scatter([], [], s=60, c=COLORS[2], marker="D", label="the gene")
    ax.scatter([], [], s=9, c=GREY, label="other genes of similar rank")
    ax.plot([], [], color=faded(ax, 0.4, COLORS[0]), lw=9, label="where 95% of them lie")
    ax.axvline(scale.neutral or 0, color=GREY, lw=0.6, zorder=0)
    rows(ax, names)
    ax.set(xlabel=scale.label)
    legend_right(ax)
    heading(ax, title, "p: chance that another gene would do as much")
    return ax
