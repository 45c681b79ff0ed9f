from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

import genemamba as gm
from genemamba.errors import InputError
from genemamba.pl._style import COLORS


@pytest.fixture
def result():
    rng = np.random.default_rng(0)
    genes = [f"G{i}" for i in range(50)]
    tables = {name: pd.DataFrame(rng.normal(size=(50, 8)), index=genes) for name in ("a", "b")}
    pairs = [(*rng.choice(genes, 2, replace=False), i % 2) for i in range(200)]
    return gm.tl.gene_similarity(pairs, tables, n_boot=10)


@pytest.mark.parametrize("measure", ["cosine", "pearson"])
def test_a_row_and_its_auroc_for_each_embedding(result, measure: str, words) -> None:
    ax = gm.pl.gene_pairs(result, measure=measure)
    table = result.table.xs(measure, level="measure")
    names = [t.get_text().split("\n") for t in ax.get_yticklabels()]
    assert [name[0] for name in names] == ["a", "b", "random"]
    for name, (_, row) in zip(names, table.iterrows(), strict=True):
        low, high = row["auroc_low"], row["auroc_high"]
        assert name[1] == f"AUROC {row['auroc']:.2f} ({low:.2f}–{high:.2f})"
        assert name[2] == f"same genes {row['auroc_matched']:.2f}"
    hubs = result.table.loc[("hubs", "degree"), "auroc"]
    assert f"number of pairs alone: {hubs:.2f}" in words(ax)
    assert "1: always, 0.5: by chance" in words(ax)
    related, unrelated = (int(table[c].iloc[0]) for c in ("positive", "negative"))
    legend = [t.get_text() for t in ax.get_legend().get_texts()]
    assert legend[:2] == [f"{related} related pairs", f"{unrelated} unrelated pairs"]
    steps = [p for p in ax.patches if hasattr(p, "get_data")]
    assert len(steps) == 6
    above = [p for p in steps if p.get_data().values.min() < p.get_data().baseline]
    assert {p.get_facecolor() for p in above} == {to_rgba(COLORS[0])}  # of related pairs
    assert "pearson" in ax.get_xlabel().lower() or measure == "cosine"


def test_distances_beside_those_of_shuffled_labels(result, words) -> None:
    ax = gm.pl.gene_pairs(result, kind="distance")
    table = result.table.xs("cosine", level="measure")
    drawn = {line.get_label(): line.get_xdata() for line in ax.lines}
    np.testing.assert_allclose(drawn["Kullback–Leibler (bits)"], table["kl"])
    np.testing.assert_allclose(drawn["Jensen–Shannon (0 to 1 bit)"], table["js"])
    assert "further right of its hollow mark: more than chance" in words(ax)
    _, given = plt.subplots()
    assert gm.pl.gene_pairs(result, kind="distance", ax=given) is given


def test_says_what_is_wrong(result) -> None:
    with pytest.raises(InputError, match=r"gm\.tl\.gene_similarity"):
        gm.pl.gene_pairs(result.table)
    with pytest.raises(InputError, match="kind='box'"):
        gm.pl.gene_pairs(result, kind="box")
    with pytest.raises(InputError, match="measure='dot'"):
        gm.pl.gene_pairs(result, measure="dot")
