"""Colours of labels, in the slot from which scanpy reads them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import scanpy as sc
from anndata import AnnData
from matplotlib.colors import is_color_like

from genemamba._keys import colors_key
from genemamba.cells.labels import UNKNOWN

UNKNOWN_COLOR = "#b3b3b3"  # darker than scanpy's for a missing value


def write_colors(adata: AnnData, key: str, names: Sequence[str]) -> None:
    """Write a colour for each of the categories of ``obs[key]``: scanpy's palette, "unknown" grey.

    Colours that are there stay, if there is a valid one for each category. Only the grey of
    "unknown" does not stay with another label, which a former annotation leaves in its place.
    """
    slot = colors_key(key)
    if not _fit(adata.uns.get(slot), names):
        adata.uns[slot] = label_colors(names)


def label_colors(names: Sequence[str]) -> list[str]:
    """Return the colour of each label; it is the same with and without "unknown" among them."""
    n_others, palettes = len({*names} - {UNKNOWN}), sc.pl.palettes
    palette = palettes.default_102
    if n_others <= 28:
        palette = palettes.default_20 if n_others <= 20 else palettes.default_28
    colors = cycle(palette)
    return [UNKNOWN_COLOR if name == UNKNOWN else next(colors) for name in names]


def _fit(colors: Any, names: Sequence[str]) -> bool:
    if not isinstance(colors, list | tuple | np.ndarray) or len(colors) != len(names):
        return False
    pairs = list(zip(colors, names, strict=True))
    left = any(color == UNKNOWN_COLOR and name != UNKNOWN for color, name in pairs)
    return not left and all(is_color_like(color) for color in colors)
