"""What the plots share: axes, colours that colour-blind readers can tell apart, predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from genemamba._keys import OBS_LABEL
from genemamba.errors import InputError
from genemamba.metrics._from_anndata import column

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

COLORS = (  # Petroff, arXiv:2107.02270: ten that stay apart with every kind of colour vision
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
MARKERS = "osD^vPX"
GREY = "#717581"


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the given axes, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def look(i: int) -> dict[str, Any]:
    """Return colour and marker of the i-th group; no two of the first seventy are alike."""
    return {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i // len(COLORS) % len(MARKERS)]}


def class_order(*columns: pd.Series) -> list[str]:
    """Return the classes in the order of their categories, "unknown" last."""
    seen: dict[str, None] = {}
    for values in columns:
        if isinstance(values.dtype, pd.CategoricalDtype):
            names = [c for c in values.cat.categories if (values == c).any()]
        else:
            names = sorted(map(str, values.unique()))
        seen |= dict.fromkeys(map(str, names))
    return sorted(seen, key=lambda name: name == "unknown")


def predictions(adata: AnnData, label_key: str, pred_key: str) -> pd.DataFrame:
    """Return truth, guess and confidence (NaN if there is none) of the cells that were predicted.

    Where labels were given and not predicted, annotate leaves no confidence.
    """
    if pred_key not in adata.obs and pred_key == OBS_LABEL:
        raise InputError(f"adata.obs has no {pred_key!r}", "make it first: gm.tl.annotate(adata)")
    column(adata, pred_key, "pred_key")
    confidence = pred_key.removesuffix("_label") + "_confidence"
    predicted = np.ones(adata.n_obs, dtype=bool)
    if confidence in adata.obs:
        predicted = adata.obs[confidence].notna().to_numpy()
    cells = adata[predicted]
    column(cells, label_key, "label_key")
    if cells.n_obs == 0:
        raise InputError(
            f"adata.obs[{confidence!r}] is missing (NaN) for every cell: none was predicted",
            "annotate cells without a label",
        )
    return pd.DataFrame(
        {
            "truth": cells.obs[label_key],
            "guess": cells.obs[pred_key],
            "confidence": cells.obs.get(confidence, np.nan),
        }
    )
