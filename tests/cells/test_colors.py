from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData

from genemamba.cells.colors import UNKNOWN_COLOR, label_colors, write_colors


def labelled(*names: str) -> AnnData:
    types = pd.Categorical(names, categories=names)
    return AnnData(obs=pd.DataFrame({"type": types}, index=list(names)))


@pytest.mark.parametrize(
    ("n", "palette"),
    [(3, "default_20"), (20, "default_20"), (21, "default_28"), (29, "default_102")],
)
def test_colours_are_scanpys_and_unknown_is_grey(n: int, palette: str) -> None:
    names = [f"type {i}" for i in range(n)]
    expected = getattr(sc.pl.palettes, palette)[:n]
    assert label_colors(names) == expected
    assert label_colors([*names, "unknown"]) == [*expected, UNKNOWN_COLOR]
    assert label_colors(["unknown", *names]) == [UNKNOWN_COLOR, *expected]


def test_more_labels_than_colours() -> None:
    assert len(label_colors([f"type {i}" for i in range(300)])) == 300


def test_scanpy_draws_them() -> None:
    adata = labelled("B", "T", "unknown")
    write_colors(adata, "type", adata.obs["type"].cat.categories.tolist())
    assert adata.uns["type_colors"] == [*sc.pl.palettes.default_20[:2], UNKNOWN_COLOR]
    adata.obsm["X_umap"] = np.zeros((3, 2))
    expected = list(adata.uns["type_colors"])
    sc.pl.umap(adata, color="type", show=False)
    assert list(adata.uns["type_colors"]) == expected


@pytest.mark.parametrize("own", [["red", "#00ff00", "blue"], np.array(["red", "lime", "blue"])])
def test_colours_of_the_user_stay(own: object) -> None:
    adata = labelled("B", "T", "unknown")
    adata.uns["type_colors"] = own
    write_colors(adata, "type", adata.obs["type"].cat.categories.tolist())
    assert adata.uns["type_colors"] is own


@pytest.mark.parametrize(
    "left", [["red"], ["red", "lime", "no colour"], "red", ["red", UNKNOWN_COLOR, "lime"]]
)
def test_colours_that_do_not_fit_are_replaced(left: object) -> None:
    adata = labelled("B", "T", "unknown")
    adata.uns["type_colors"] = left
    write_colors(adata, "type", adata.obs["type"].cat.categories.tolist())
    assert adata.uns["type_colors"] == label_colors(["B", "T", "unknown"])
