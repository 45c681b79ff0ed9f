"""Plot the tables of ``gm.tl.perturb``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from genemamba._docs import documented
from genemamba._keys import PERTURB, recorded
from genemamba.errors import InputError
from genemamba.pl._style import COLORS, GREY, axes, check_choice, legend_right, rows

Kind = Literal["dots", "controls"]
FDRS = (1, 0.1, 0.01)  # shown in the legend of sizes


@documented
def perturb(
    adata: AnnData,
    *,
    kind: Kind = "dots",
    group: str | None = None,
    key: str = PERTURB,
    ax: Axes | None = None,
) -> Axes:
    """Plot how strongly each perturbation shifts each group of cells, compared with chance.

    Plots what :func:`genemamba.tl.perturb` wrote to ``uns``. With a target state, colour and
    position are the ``score``: positive is towards it. Without one, they are the cosine shift, as
    a multiple of the controls' mean.

    Parameters
    ----------
    adata
        Cells that ``gm.tl.perturb`` was run on.
    kind
        ``"dots"``: perturbations × groups, larger where the false discovery rate is lower; a cross
        where nothing changed. ``"controls"``: each perturbation of one group and its controls.
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
    'cosine shift / mean of controls'
    """
    check_choice("kind", kind, *get_args(Kind))
    entry = recorded(adata, key)
    if "control_table" not in entry:
        raise InputError(
            f"adata has no table of perturbations under {key!r}",
            "make it first: gm.tl.perturb(adata, genes)",
        )
    table, params = entry["table"].copy(), entry["params"]
    table["value"], label = _value(table, params)
    if kind == "dots":
        return _dots(table, label, f"{params['how']}, {_cells(table):,} cells", ax)
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
            f"there are no controls in {group!r}", "run gm.tl.perturb with n_controls of 1 or more"
        )
    title = f"{params['how']}, {_cells(table):,} cells, {group}"
    return _strips(table, controls, label, title, ax)


def _value(table: pd.DataFrame, params: Mapping[str, Any]) -> tuple[pd.Series, str]:
    """Return the values to draw, and their label."""
    if params["target"]:
        return table["score"], f"score towards {params['target']}"
    if table["cosine_controls"].notna().any():
        return table["cosine"] / table["cosine_controls"], "cosine shift / mean of controls"
    return table["cosine"], "cosine shift"


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


def _dots(table: pd.DataFrame, label: str, title: str, ax: Axes | None) -> Axes:
    names, groups = (table[c].drop_duplicates().tolist() for c in ("perturbation", "group"))
    ax = axes(ax, 4.2 + 0.55 * len(groups), 2.4 + 0.36 * len(names))
    x = table["group"].map(groups.index)
    y = table["perturbation"].map(names.index)
    moved = table["changed"] > 0
    is_score = "score" in label
    size = _size(table["fdr_score" if "fdr_score" in table else "fdr_shift"].fillna(1))
    most = table["value"].abs().max() if is_score else table["value"].max()
    dots = ax.scatter(
        x[moved], y[moved], s=size[moved], c=table["value"][moved],
        cmap="RdBu_r" if is_score else "viridis",
        vmin=-most if is_score else 0, vmax=most, edgecolors=GREY, linewidths=0.6,
    )  # fmt: skip
    ax.scatter(x[~moved], y[~moved], s=18, c=GREY, marker="x", linewidths=0.9)
    ax.figure.colorbar(dots, ax=ax, label=label, shrink=0.8)
    ax.set_xticks(range(len(groups)), groups, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), names)
    ax.set(xlim=(-0.6, len(groups) - 0.4), ylim=(len(names) - 0.4, -0.6))
    ax.set(xlabel="cells", ylabel="genes")
    ax.set_title(title, pad=28)
    ax.set_axisbelow(True)
    ax.grid(lw=0.5, alpha=0.4)
    ax.tick_params(length=0)
    for fdr, area in zip(FDRS, _size(pd.Series(FDRS)), strict=True):
        ax.scatter([], [], s=area, c="white", edgecolors=GREY, label=f"FDR {fdr:g}")
    ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, frameon=False)
    return ax


def _size(fdr: pd.Series) -> pd.Series:
    return 30 + 90 * -np.log10(fdr.astype(float))


def _strips(
    table: pd.DataFrame, controls: pd.DataFrame, label: str, title: str, ax: Axes | None
) -> Axes:
    """Draw a row for each perturbation: its controls, their central 95 %, and itself."""
    ax = axes(ax, 8.0, 1.8 + 0.55 * len(table))
    jitter = np.random.default_rng(0)
    test = "p_score" if "p_score" in table else "p_shift"
    names = []
    for y, row in enumerate(table.to_dict("records")):
        own = controls.loc[controls["perturbation"] == row["perturbation"], "value"].dropna()
        if len(own):
            ax.plot(np.quantile(own, [0.025, 0.975]), [y, y], color="#b2d3f0", lw=9, zorder=1)
        ax.scatter(own, y + jitter.uniform(-0.22, 0.22, len(own)), s=9, c=GREY, lw=0, zorder=2)
        if row["changed"]:
            ax.scatter(row["value"], y, s=60, c=COLORS[2], marker="D", zorder=3)
        result = f"p = {row[test]:.2g}" if row["changed"] else "changes nothing"
        names.append(f"{row['perturbation']}\n{result}")
    ax.scatter([], [], s=60, c=COLORS[2], marker="D", label="the gene")
    ax.scatter([], [], s=9, c=GREY, label="controls, and their central 95 %")
    ax.axvline(0 if "score" in label else 1, color=GREY, lw=0.6, zorder=0)
    rows(ax, names)
    ax.set(xlabel=label, title=title)
    legend_right(ax)
    return ax
