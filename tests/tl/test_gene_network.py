from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import genemamba as gm
from genemamba.errors import GeneMambaWarning, InputError

GENES = [f"G{i}" for i in range(60)]


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """A space, the same with noise, and another; the second lacks a gene."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6))
    return {
        "a": pd.DataFrame(x, index=GENES),
        "b": pd.DataFrame(3 * x + rng.normal(size=x.shape), index=GENES).drop("G7"),
        "c": pd.DataFrame(rng.normal(size=(60, 9)), index=GENES[::-1]),
    }


def test_edges_are_pairs_nearer_than_the_mean(tables) -> None:
    found = gm.tl.gene_network(tables, n_permutations=99)
    assert found.genes.tolist() == [g for g in GENES if g != "G7"]
    for name, d in found.distances.items():
        x = tables[name].loc[found.genes].to_numpy().astype(np.float32).astype(float)
        slow = np.linalg.norm(x[:, None] - x[None], axis=2)
        np.testing.assert_allclose(d, slow, atol=1e-5)
        mean = slow[np.triu_indices(59, 1)].mean()
        assert found.threshold[name] == pytest.approx(mean)
        mine = found.edges[found.edges[name]]
        assert len(mine) == (slow[np.triu_indices(59, 1)] < mean).sum()
        assert all(d.loc[a, b] < mean for a, b in zip(mine["gene_a"], mine["gene_b"], strict=True))
    assert (found.edges["shared"] == found.edges[["a", "b", "c"]].all(axis=1)).all()
    assert found.edges[["a", "b", "c"]].any(axis=1).all()


def test_overlap_beyond_chance(tables) -> None:
    overlap = gm.tl.gene_network(tables, n_permutations=99).overlap
    assert overlap.index.tolist() == [("a", "b"), ("a", "c"), ("b", "c")]
    alike, other = overlap.loc[("a", "b")], overlap.loc[("a", "c")]
    assert alike["jaccard"] > 0.6 > alike["by_chance"]
    assert alike["p_value"] == 0.01
    assert alike["fdr"] == pytest.approx(0.03)
    assert other["jaccard"] == pytest.approx(other["by_chance"], abs=0.1)
    assert other["fdr"] > 0.05
    again = gm.tl.gene_network(tables, n_permutations=99).overlap
    pd.testing.assert_frame_equal(again, overlap)


def test_a_share_of_the_pairs(tables) -> None:
    found = gm.tl.gene_network(tables, threshold=0.05, n_permutations=9)
    wanted = 0.05 * 59 * 58 / 2
    assert found.edges[["a", "b", "c"]].sum().sub(wanted).abs().max() <= 1


def test_one_embedding_and_chosen_genes(tables) -> None:
    with pytest.warns(GeneMambaWarning, match="1 of the genes have no vector.*what"):
        found = gm.tl.gene_network(tables["a"], genes=["G3", "what", "G1", "G2", "G3"])
    assert found.genes.tolist() == ["G3", "G1", "G2"]
    assert found.overlap.empty
    assert list(found.overlap) == ["jaccard", "by_chance", "p_value", "fdr"]
    assert found.edges["shared"].all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": "median"}, "threshold='median'"),
        ({"threshold": 5}, "threshold=5"),
        ({"n_permutations": 0}, "n_permutations=0"),
        ({"genes": ["G1", "G2"]}, "2 genes have a vector"),
    ],
)
def test_says_what_is_wrong(tables, options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        gm.tl.gene_network(tables, **options)


def test_too_many_genes() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"2,001 genes.*\n.*genes="):
        gm.tl.gene_network(pd.DataFrame(rng.normal(size=(2001, 2))))
