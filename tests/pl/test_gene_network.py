from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import genemamba as gm
from genemamba.errors import InputError


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    genes = [f"G{i}" for i in range(40)]
    x = rng.normal(size=(40, 4))
    return {
        "a": pd.DataFrame(x, index=genes),
        "b": pd.DataFrame(x + 0.3 * rng.normal(size=x.shape), index=genes),
        "c": pd.DataFrame(rng.normal(size=(40, 4)), index=genes),
    }


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_shared_and_own_edges_of_two(tables, words) -> None:
    del tables["c"]
    network = gm.tl.gene_network(tables, threshold=0.1, n_permutations=9)
    ax = gm.pl.gene_network(network, n_edges=10)
    edges = network.edges
    own = {name: (edges[name] & ~edges["shared"]).sum() for name in ("a", "b")}
    shared = edges["shared"].sum()
    assert legend(ax) == [
        *(f"only in {name}: {count(n)}" for name, n in own.items()),
        f"in both: {count(shared)}",
    ]
    lines = [line for line in ax.lines if len(line.get_xdata())]
    names = {text.get_text() for text in ax.texts}
    assert names <= set(network.genes)
    assert len(names) == len(ax.texts)
    assert len(lines) == sum(min(n, 10) for n in (*own.values(), shared))
    said = f"{len(lines)} of {len(edges)} edges, between {len(names)} of 40 genes"
    assert said in words(ax)
    assert "(Jaccard index); by chance" in words(ax)
    assert "length has no meaning" in ax.get_legend().get_title().get_text()


def count(n: int) -> str:
    return str(n) if n <= 10 else f"10 shortest of {n}"


def test_three_share_in_part_and_one_shares_with_nobody(tables, words) -> None:
    network = gm.tl.gene_network(tables, threshold=0.1, n_permutations=9)
    assert any(text.startswith("in some") for text in legend(gm.pl.gene_network(network)))
    alone = gm.tl.gene_network(tables["a"], threshold=0.1)
    _, given = plt.subplots()
    assert gm.pl.gene_network(alone, ax=given) is given
    assert legend(given) == ["in embedding: 30 shortest of 78"]
    assert "30 of 78 edges" in words(given)


def test_the_same_picture_twice(tables) -> None:
    network = gm.tl.gene_network(tables, threshold=0.1, n_permutations=9)
    places = [
        [(text.get_text(), tuple(text.xy)) for text in gm.pl.gene_network(network).texts]
        for _ in range(2)
    ]
    assert places[0] == places[1]


def test_says_what_is_wrong(tables) -> None:
    with pytest.raises(InputError, match=r"gm\.tl\.gene_network"):
        gm.pl.gene_network(tables)
    network = gm.tl.gene_network(pd.DataFrame(np.eye(3)), threshold=0.5)
    network = replace(network, edges=network.edges.iloc[:0])
    with pytest.raises(InputError, match="no edge"):
        gm.pl.gene_network(network)
