from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import genemamba as gm
from genemamba.errors import InputError


@pytest.fixture
def result():
    rng = np.random.default_rng(0)
    genes = [f"G{i}" for i in range(50)]
    tables = {name: pd.DataFrame(rng.normal(size=(50, 8)), index=genes) for name in ("a", "b")}
    pairs = [(*rng.choice(genes, 2, replace=False), i % 2) for i in range(200)]
    return gm.tl.gene_similarity(pairs, tables, n_boot=10)


@pytest.mark.parametrize("measure", ["cosine", "pearson"])
def test_a_violin_and_its_auroc_for_each_embedding(result, measure: str) -> None:
    ax = gm.pl.gene_pairs(result, measure=measure)
    table = result.table.xs(measure, level="measure")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b", "random"]
    for text, area in zip(ax.texts, table["auroc"], strict=True):
        assert f"{area:.2f} (" in text.get_text()
    hubs = result.table.loc[("hubs", "degree"), "auroc"]
    assert f"AUROC {hubs:.2f}" in ax.get_title()
    steps = [p for p in ax.patches if hasattr(p, "get_data")]
    assert len(steps) == 6
    assert "pearson" in ax.get_ylabel().lower() or measure == "cosine"


def test_distances_beside_those_of_shuffled_labels(result) -> None:
    ax = gm.pl.gene_pairs(result, kind="distance")
    table = result.table.xs("cosine", level="measure")
    drawn = {line.get_label(): line.get_xdata() for line in ax.lines}
    np.testing.assert_allclose(drawn["KL, bits"], table["kl"])
    np.testing.assert_allclose(drawn["JS, bits"], table["js"])
    _, given = plt.subplots()
    assert gm.pl.gene_pairs(result, kind="distance", ax=given) is given


def test_says_what_is_wrong(result) -> None:
    with pytest.raises(InputError, match=r"gm\.tl\.gene_similarity"):
        gm.pl.gene_pairs(result.table)
    with pytest.raises(InputError, match="kind='box'"):
        gm.pl.gene_pairs(result, kind="box")
    with pytest.raises(InputError, match="measure='dot'"):
        gm.pl.gene_pairs(result, measure="dot")
