"""Labels that mean the same, but would become several classes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import GeneMambaWarning
from genemamba.network import GeneMamba


def annotated(pbmc: AnnData, names: list[str], model: GeneMamba) -> list[warnings.WarningMessage]:
    """Annotate with these labels in turn; return the warnings of same labels."""
    reference, query = pbmc[:120].copy(), pbmc[120:140].copy()
    reference.obs["type"] = np.resize(names, 120)
    reference.obs["type"] = reference.obs["type"].astype("category")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gm.tl.annotate(query, reference=reference, label_key="type", method="knn", model=model)
    return [w for w in caught if "mean the same" in str(w.message)]


def test_names_of_one_term_are_named_with_the_call_that_joins_them(
    pbmc: AnnData, small_model: GeneMamba
) -> None:
    names = ["T cell", "T cell", "T cells", "CL:0000084", "B_cell", "b-cells", "Cluster 1"]
    (told,) = annotated(pbmc, names, small_model)
    assert told.category is GeneMambaWarning and told.filename == __file__
    text = str(told.message)
    assert "labels in reference.obs['type'] mean the same" in text
    assert "'T cell', 'T cells', 'CL:0000084' ('T cell', CL:0000084)" in text
    call = text.split("to join them: ")[1]
    reference = AnnData(obs={"type": np.array([*names, None], dtype=object)}, shape=(8, 0))
    exec(call, {"reference": reference})
    joined = reference.obs["type"]
    assert joined.dropna().nunique() == 3 and joined.isna().tolist() == [False] * 7 + [True]
    assert not annotated(pbmc, joined.dropna().tolist(), small_model)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("cluster a", "Cluster A", True),
        ("my_type", "my types", True),
        ("pro-B", "pro B", True),
        ("CD4+ T", "CD4- T", False),
        ("CD4 T", "CD4- T", False),
        ("CD4 T", "CD8 T", False),
        ("T cell", "CD4-positive, alpha-beta T cell", False),  # below the other
        ("1", "11", False),
    ],
)
def test_what_differs_in_more_than_spelling_stays_apart(
    pbmc: AnnData, small_model: GeneMamba, one: str, other: str, same: bool
) -> None:
    assert bool(annotated(pbmc, [one, other, "x"], small_model)) is same
