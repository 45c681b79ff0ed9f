from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import genemamba as gm


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6))
    x[1] = x[0] + 0.01
    index = pd.Index([f"G{i}" for i in range(40)])
    return {
        "one<two": pd.DataFrame(x, index),
        "noise": pd.DataFrame(rng.normal(size=x.shape), index),
    }


def test_a_network_says_what_is_in_it(tables) -> None:
    network = gm.tl.gene_network(tables, n_permutations=9)
    lines = repr(network).splitlines()
    assert lines[0].split() == ["GeneNetwork", "40", "genes"]
    assert " 8 edges, closest G0–G1, " in lines[1]
    assert len(lines) == 5 and "Jaccard index 0.0" in lines[3]
    assert max(map(len, lines)) < 110
    html = network._repr_html_()
    assert html.count("<tr>") == 5 and "one&lt;two" in html


def test_genes_equally_far_apart_are_all_connected() -> None:
    same = pd.DataFrame(np.eye(4), index=list("ABCD"))
    assert "6 edges, closest A–B" in repr(gm.tl.gene_network(same))


def test_pairs_say_how_well_they_are_told_apart(tables) -> None:
    pairs = [("G0", "G1", 1), ("G2", "G3", 1), ("G4", "G5", 0), ("G6", "G7", 0), ("G0", "X", 1)]
    found = gm.tl.gene_similarity(pairs, tables, n_boot=5)
    lines = repr(found).splitlines()
    assert lines[0].endswith("2 related and 2 unrelated pairs; not used: 1 no vector")
    row = found.table.loc[("noise", "cosine")]
    assert any(f"cosine: AUROC {row['auroc']:.2f} (" in line for line in lines if "noise" in line)
    assert sum("control, " in line for line in lines) == 3  # random by two measures, and hubs
    assert found._repr_html_().count("<tr>") == len(lines)
