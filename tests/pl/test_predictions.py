"""How labels and predictions are brought to the same names, for all plots that compare them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import InputError
from genemamba.pl._predictions import _nearest, predictions

LONG = {"T": "T cell", "B": "B cell", "mono": "monocyte"}


@pytest.fixture
def renamed(annotated: AnnData) -> AnnData:
    """Predictions in other words than labels."""
    annotated.obs["genemamba_label"] = annotated.obs["genemamba_label"].cat.rename_categories(LONG)
    return annotated


@pytest.mark.parametrize("plot", [gm.pl.confusion, gm.pl.reliability])
def test_names_in_common_are_needed(renamed, plot):
    before = repr(renamed)
    with pytest.raises(InputError, match="have no name in common") as said:
        plot(renamed, "cell_type")
    assert "'B', 'T', 'mono', predicted ones 'B cell', 'T cell', 'monocyte'" in said.value.what
    assert "map 'B' to 'B cell'" in said.value.fix
    assert "mapping={'B': 'B cell', 'T': 'T cell', …}" in said.value.fix
    plot(renamed, "cell_type", mapping=LONG)
    assert repr(renamed) == before


def test_nothing_alike(annotated):
    annotated.obs["genemamba_label"] = annotated.obs["batch"]
    with pytest.raises(InputError, match="or the column of predictions as pred_key"):
        gm.pl.confusion(annotated, "cell_type")


def test_unknown_is_no_name_in_common(renamed):
    renamed.obs["cell_type"] = renamed.obs["cell_type"].cat.rename_categories({"mono": "unknown"})
    with pytest.raises(InputError, match="no name in common"):
        gm.pl.confusion(renamed, "cell_type")
    renamed.obs["genemamba_label"] = "unknown"
    assert gm.pl.confusion(renamed, "cell_type").images  # all unknown is a result, not a mistake


@pytest.mark.parametrize("dtype", ["category", object])
def test_labels_are_renamed_in_their_order(annotated, dtype):
    annotated.obs["cell_type"] = annotated.obs["cell_type"].astype(dtype)
    mapping = {"mono": "never predicted", "T": "B"}
    truth = predictions(annotated, "cell_type", "genemamba_label", mapping)["truth"]
    expected = annotated.obs["cell_type"].astype(str).replace(mapping)
    assert (truth.astype(str) == expected).all()
    assert truth.cat.categories.tolist() == ["B", "never predicted"]


def test_names_can_be_swapped(annotated):
    swapped = {"T": "B", "B": "T"}
    truth = predictions(annotated, "cell_type", "genemamba_label", swapped)["truth"]
    assert ((annotated.obs["cell_type"] == "T") == (truth == "B")).all()


def test_numbers_are_names(annotated):
    annotated.obs["cluster"] = pd.factorize(annotated.obs["cell_type"].astype(str), sort=True)[0]
    mapping = {"0": "B", "1": "T", "2": "mono"}
    found = gm.pl.confusion(annotated, "cluster", mapping=mapping)
    expected = gm.pl.confusion(annotated, "cell_type")
    assert found.get_title() == expected.get_title()
    with pytest.raises(InputError, match="did you mean '0'"):
        gm.pl.confusion(annotated, "cluster", mapping={0: "B"})


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"T cells": "B"}, r"'T cells', which is not a label in .*\n.* did you mean 'T'"),
        ({"basophil": "B"}, r"'basophil', which .*\n.* some of B, T, mono"),
        ({"T": np.nan}, "renames 'T' to nan"),
        ([("T", "B")], r"mapping is \[\('T', 'B'\)\]"),
    ],
)
@pytest.mark.parametrize("plot", [gm.pl.confusion, gm.pl.reliability])
def test_bad_mapping(annotated, plot, mapping, said):
    with pytest.raises(InputError, match=said):
        plot(annotated, "cell_type", mapping=mapping)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("CD4 T", "CD4 T cell"),
        ("CD19+ B", "B cell"),  # and not "CD8 T cell", which has more letters of it
        ("T cells, CD8", "CD8 T cell"),
        ("monocytes", "monocyte"),
        ("CD34+", None),
    ],
)
def test_nearest_names(name, nearest):
    names = ["B cell", "CD4 T cell", "CD8 T cell", "monocyte"]
    assert _nearest(name, names, 1) == ([nearest] if nearest else [])
