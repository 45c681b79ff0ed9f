"""Plot confidence against accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from genemamba._docs import documented
from genemamba._keys import OBS_LABEL
from genemamba.cells.labels import UNKNOWN
from genemamba.errors import InputError
from genemamba.metrics import expected_calibration_error
from genemamba.metrics._expected_calibration_error import calibration_bins
from genemamba.pl._predictions import predictions
from genemamba.pl._style import COLORS, FEW, GREY, axes, faded, heading, ink


@documented
def reliability(
    adata: AnnData,
    label_key: str,
    *,
    pred_key: str = OBS_LABEL,
    mapping: Mapping[str, str] | None = None,
    n_bins: int = 15,
    ax: Axes | None = None,
) -> Axes:
    """Plot whether predictions with a confidence of 0.9 are correct nine times in ten.

    Bars: fraction of correct predictions in each bin of confidence, with a dot at the bin's mean
    confidence; faint with fewer than ten cells. The distance of the dots from the diagonal,
    weighted by cells, is the expected calibration error
    (:func:`genemamba.metrics.expected_calibration_error`). Above: cells per bin. Cells called
    "unknown", and those whose label was given, are left out.

    Parameters
    ----------
    adata
        Cells with true and predicted types, and the confidence in a column named like that of the
        predictions, with ``_confidence`` in place of ``_label``.
    {label_key}
    {pred_key}
    {mapping}
    n_bins
        Bins of confidence, of equal width.
    {ax}

    Returns
    -------
    The axes of the diagram; its histogram is ``ax.child_axes[0]``. Nothing is written.

    {no_result}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> adata.obs["mine_label"] = adata.obs["bulk_labels"]
    >>> adata.obs["mine_confidence"] = 0.9
    >>> gm.pl.reliability(adata, "bulk_labels", pred_key="mine_label").get_xlabel()
    'confidence of the prediction'
    """
    cells = predictions(adata, label_key, pred_key, mapping)
    n_all = len(cells)
    cells = cells[(cells["guess"].astype(str) != UNKNOWN) & cells["confidence"].notna()]
    if cells.empty:
        raise InputError(
            f"no cell with a name in obs[{pred_key!r}] has a confidence",
            "predict both: gm.tl.annotate(adata)",
        )
    right = cells["truth"].astype(str) == cells["guess"].astype(str)
    error = expected_calibration_error(cells["confidence"], right, n_bins=n_bins)
    bins = calibration_bins(cells["confidence"], right, n_bins)
    ax = axes(ax, 5.0, 5.8)
    few = (bins["cells"] < FEW).to_numpy()
    looks: dict[str, Any] = {"align": "edge", "edgecolor": faded(ax, 0)}
    left, width = np.arange(n_bins) / n_bins, 1 / n_bins
    colors = [faded(ax, 0.35, COLORS[0]) if pale else COLORS[0] for pale in few]
    ax.bar(left, bins["accuracy"], width, color=colors, **looks)
    ax.plot(bins["confidence"], bins["accuracy"], "o", color=ink(), ms=3)
    ax.plot([0, 1], [0, 1], "--", color=ink(), lw=1)
    box = {"facecolor": faded(ax, 0), "edgecolor": "none", "alpha": 0.8}
    note: dict[str, Any] = {"fontsize": 8, "bbox": box}
    ax.text(0.04, 0.96, "above the line:\nmore often right\nthan it says", va="top", **note)
    ax.text(0.97, 0.04, "below the line: too sure", ha="right", **note)
    ax.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="cells that are right")
    faint = f"\nfaint: fewer than {FEW} cells" if (few & bins["cells"].gt(0)).any() else ""
    ax.set_xlabel(f"confidence of the prediction{faint}")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:.0%}")
    top = ax.inset_axes((0, 1.03, 1, 0.18))
    top.bar(left, bins["cells"], width, color=GREY, **looks)
    top.set(xlim=(0, 1), ylabel="cells", xticks=[])
    top.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    top.spines[["top", "right"]].set_visible(False)
    named = f"{len(cells):,} cells, {right.mean():.0%} right"
    if len(cells) < n_all:
        named += f" ({n_all - len(cells):,} unknown left out)"
    heading(
        ax, "Is a prediction right as often as its confidence says?",
        named, f"mean gap to the line (ECE) {error:.1%}, 0% is best",
    )  # fmt: skip
    return ax
