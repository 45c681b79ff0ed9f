from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.stats import pearsonr
from sklearn.metrics import roc_auc_score

import genemamba as gm
from genemamba.errors import InputError

GENES = [f"G{i}" for i in range(200)]


@pytest.fixture
def embedding() -> pd.DataFrame:
    """Two hundred genes in twenty families of ten."""
    rng = np.random.default_rng(0)
    families = np.repeat(rng.normal(size=(20, 12)), 10, axis=0)
    return pd.DataFrame(families + rng.normal(size=(200, 12)), index=GENES)


@pytest.fixture
def pairs() -> pd.DataFrame:
    """Pairs within a family and pairs of any two genes."""
    rng = np.random.default_rng(1)
    a = rng.integers(200, size=1600)
    within = a // 10 * 10 + rng.integers(10, size=1600)
    b = np.where(np.arange(1600) < 800, within, rng.integers(200, size=1600))
    frame = pd.DataFrame({"a": a, "b": b, "y": (a // 10 == b // 10).astype(int)})
    frame = frame[a != b].drop_duplicates(["a", "b"])
    return frame.assign(a=np.take(GENES, frame["a"]), b=np.take(GENES, frame["b"]))


def test_every_figure_is_what_it_says(embedding, pairs) -> None:
    found = gm.tl.gene_similarity(pairs, embedding, n_boot=50)
    row = found.table.loc[("embedding", "pearson")]
    used = found.scores
    x = embedding.astype(np.float32).astype(float)
    slow = np.array(
        [
            pearsonr(x.loc[a], x.loc[b])[0]
            for a, b in zip(used["gene_a"], used["gene_b"], strict=True)
        ]
    )
    np.testing.assert_allclose(used[("embedding", "pearson")], slow, atol=1e-6)
    positive = used["label"] == 1
    assert row["positive"] == positive.sum()
    assert row["negative"] == (~positive).sum()
    assert row["mean_positive"] == pytest.approx(slow[positive].mean())
    assert row["mean_negative"] == pytest.approx(slow[~positive].mean())
    assert row["auroc"] == pytest.approx(roc_auc_score(positive, slow))
    assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
    assert row["kind"] == "given"


def test_controls_know_nothing(embedding, pairs) -> None:
    table = gm.tl.gene_similarity(pairs, embedding, n_boot=50).table
    assert table.index.get_level_values("embedding").unique().tolist() == [
        "embedding",
        "random",
        "hubs",
    ]
    known, random = table.loc[("embedding", "cosine")], table.loc[("random", "cosine")]
    assert known["auroc"] > 0.75 < known["auroc_matched"]
    assert random["auroc"] == pytest.approx(0.5, abs=0.06)
    assert random["auroc_matched"] == pytest.approx(0.5, abs=0.06)
    assert known["auroc_shuffled"] == pytest.approx(0.5, abs=0.06)
    assert known["js_shuffled"] < known["js"] / 3
    assert table.loc[("hubs", "degree"), "auroc"] < 0.6  # no hubs in these pairs


def test_all_embeddings_on_the_same_pairs(embedding, pairs) -> None:
    fewer = embedding.iloc[:150, :5].copy()
    fewer.iloc[3, 2] = np.nan
    fewer.iloc[4] = 1.0
    found = gm.tl.gene_similarity(pairs, {"all": embedding, "fewer": fewer}, n_boot=10)
    left = set(GENES[:150]) - {"G3", "G4"}
    inside = pairs["a"].isin(left) & pairs["b"].isin(left)
    table = found.table.xs("cosine", level="measure")
    assert table["known"].to_dict() == {
        "all": len(pairs),
        "fewer": inside.sum(),
        "random, 12 wide": len(found.scores),
        "random, 5 wide": len(found.scores),
    }
    assert table[["positive", "negative"]].drop_duplicates().shape == (1, 2)
    assert found.lost["no vector"] == (~inside).sum()
    assert len(found.scores) + sum(found.lost.values()) == len(pairs)


def test_pairs_that_say_nothing_are_counted(embedding) -> None:
    pairs = np.array(
        [
            ("G0", "G1", 1),
            ("G1", "G0", 1),  # again
            ("G0", "G100", 0),
            ("G5", "G5", 1),  # with itself
            ("G2", "G3", 1),
            ("G3", "G2", 0),  # and the contrary
            ("G4", "what", 0),
        ]
    )
    found = gm.tl.gene_similarity(pairs, embedding, n_boot=5)
    assert found.lost == {"no vector": 1, "same gene": 1, "both labels": 2, "repeated": 1}
    assert found.scores[["gene_a", "gene_b", "label"]].to_numpy().tolist() == [
        ["G0", "G1", 1],
        ["G0", "G100", 0],
    ]


def test_the_seed_decides(embedding, pairs) -> None:
    first, again, other = (
        gm.tl.gene_similarity(pairs, embedding, n_boot=10, rng=seed).table for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p, e: (p.iloc[:, :2], e), "has 2 columns"),
        (lambda p, e: (p.assign(y=2), e), "labels of pairs hold '2'"),
        (lambda p, e: (p.assign(y=1), e), "not of both kinds"),
        (lambda p, e: (p.assign(a="what"), e), "0 can be used"),
        (lambda p, e: (7, e), "not a table"),
        (lambda p, e: (p, e.to_numpy()), "embeddings is a ndarray, not cells"),
        (lambda p, e: (p, {}), "embeddings is a dict"),
        (lambda p, e: (p, {"x": e.iloc[:, :1]}), r"embeddings\['x'\] has 1 dimensions"),
        (lambda p, e: (p, pd.concat([e, e])), "more than once, such as 'G0'"),
        (lambda p, e: (p, e * np.nan), "a vector for no gene"),
        (lambda p, e: (p, e.astype(str) + "x"), "not numbers"),
        (lambda p, e: (p, {"random": e}), "called 'random'"),
    ],
)
def test_says_what_is_wrong(embedding, pairs, change, said: str) -> None:
    with pytest.raises(InputError, match=said):
        gm.tl.gene_similarity(*change(pairs, embedding))


def test_no_bootstrap(embedding, pairs) -> None:
    with pytest.raises(InputError, match="n_boot=0"):
        gm.tl.gene_similarity(pairs, embedding, n_boot=0)


def test_cells_are_enough(pbmc: AnnData) -> None:
    pairs = [("cd3d", "CD3E", 1), ("CD20", "CD79A", 1), ("CD3D", "LYZ", 0), ("MS4A1", "NKG7", 0)]
    found = gm.tl.gene_similarity(pairs, pbmc, n_boot=5)
    assert found.scores["gene_a"].tolist() == ["CD3D", "MS4A1", "CD3D", "MS4A1"]
    assert found.table.loc[("static", "cosine"), "auroc"] == 1


def test_of_cells_and_a_gene_the_nearest_are_listed(pbmc: AnnData) -> None:
    found = gm.tl.gene_similarity(pbmc, "MS4A1")
    pd.testing.assert_frame_equal(found, gm.tl.nearest_genes(pbmc, "MS4A1"))
