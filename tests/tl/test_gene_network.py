from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData

import genemamba as gm
from genemamba import models
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.network import GeneMamba

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


@pytest.fixture
def known(pbmc: AnnData) -> AnnData:
    """The genes of `pbmc` that the bundled model knows."""
    names = models.vocabulary("genemamba-mini").name_to_gene
    return pbmc[:, [names.get(name, -1) >= 0 for name in pbmc.var_names]].copy()


def test_edges_are_pairs_nearer_than_the_mean(tables) -> None:
    found = gm.tl.gene_network(tables, threshold="mean", n_permutations=99)
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
    overlap = gm.tl.gene_network(tables, threshold="mean", n_permutations=99).overlap
    assert overlap.index.tolist() == [("a", "b"), ("a", "c"), ("b", "c")]
    alike, other = overlap.loc[("a", "b")], overlap.loc[("a", "c")]
    assert alike["jaccard"] > 0.6 > alike["by_chance"]
    assert alike["p_value"] == 0.01
    assert alike["fdr"] == pytest.approx(0.03)
    assert other["jaccard"] == pytest.approx(other["by_chance"], abs=0.1)
    assert other["fdr"] > 0.05
    again = gm.tl.gene_network(tables, threshold="mean", n_permutations=99).overlap
    pd.testing.assert_frame_equal(again, overlap)


def test_a_share_of_the_pairs(tables) -> None:
    found = gm.tl.gene_network(tables, threshold=0.05, n_permutations=9)
    wanted = 0.05 * 59 * 58 / 2
    assert found.edges[["a", "b", "c"]].sum().sub(wanted).abs().max() <= 1


def test_genes_with_one_vector_are_connected(tables) -> None:
    x = tables["a"].copy()
    x.iloc[:20] = x.iloc[0].to_numpy()  # more pairs than the share asks for
    edges = gm.tl.gene_network(x, threshold=0.05, n_permutations=9).edges
    alike = set(GENES[:20])
    assert len(edges) == 190
    assert {*edges["gene_a"], *edges["gene_b"]} == alike


def test_one_embedding_and_chosen_genes(tables) -> None:
    with pytest.warns(GeneMambaWarning, match=r"genes without a vector are left out \(1\): what"):
        found = gm.tl.gene_network(tables["a"], genes=["G3", "what", "g1", "G2", "G3"])
    assert found.genes.tolist() == ["G3", "G1", "G2"]
    assert found.overlap.empty
    assert list(found.overlap) == ["jaccard", "by_chance", "p_value", "fdr"]
    assert found.edges["shared"].all()


def test_cells_are_enough(known: AnnData) -> None:
    found = gm.tl.gene_network(known)
    gm.tl.gene_embedding(known)
    expected = gm.tl.gene_network(
        pd.DataFrame(known.varm["X_genemamba_gene"], known.var_names.astype(object))
    )
    pd.testing.assert_frame_equal(
        found.edges.rename(columns={"static": "embedding"}), expected.edges
    )
    assert len(found.genes) == 755
    assert len(found.edges) == pytest.approx(0.01 * 755 * 764 / 2, rel=0.05)


def test_vectors_of_these_cells_are_a_second_network(
    known: AnnData, small_model: GeneMamba
) -> None:
    cells = known[:60].copy()
    gm.tl.gene_embedding(cells, kind="context", model=small_model)
    cells.uns["genemamba"]["X_genemamba_gene"]["model"] = "genemamba-mini"
    assert list(gm.tl.gene_network(cells).distances) == ["context"]  # the weights are not mini's
    mini = models.load("genemamba-mini")
    cells.uns["genemamba"]["X_genemamba_gene"]["model_sha256"] = mini.provenance["sha256"]
    found = gm.tl.gene_network(cells, n_permutations=9)
    assert list(found.distances) == ["static", "context"]
    assert found.genes.tolist() == cells.var_names[(cells.X > 0).any(axis=0)].tolist()
    x = pd.DataFrame(cells.varm["X_genemamba_gene"], cells.var_names).loc[["CD3D", "LYZ"]]
    assert found.distances["context"].loc["CD3D", "LYZ"] == pytest.approx(
        float(np.linalg.norm(x.iloc[0] - x.iloc[1])), rel=1e-5
    )


def test_of_many_genes_the_most_variable(known: AnnData) -> None:
    names = gm.tl.gene_embedding().index
    names = names[~names.isin(known.var_names)][:1500]
    flat = np.ones((700, 1500), dtype=known.X.dtype)
    many = AnnData(np.hstack([known.X, flat]).astype(np.float32), known.obs)
    many.var_names = [*known.var_names, *names]
    found = gm.tl.gene_network(many).genes
    assert 1990 < len(found) <= 2000  # some columns are one gene
    chosen = many.copy()
    sc.pp.normalize_total(chosen, target_sum=1e4)
    sc.pp.log1p(chosen)
    sc.pp.highly_variable_genes(chosen, flavor="seurat", n_top_genes=2000)
    assert set(found) <= set(chosen.var_names[chosen.var["highly_variable"]])
    many.var["highly_variable"] = many.var_names.isin(["CD3D", "CD3E", "LYZ", "MS4A1"])
    assert set(gm.tl.gene_network(many).genes) == {"CD3D", "CD3E", "LYZ", "MS4A1"}
    del many.var["highly_variable"]
    many.X = many.X - many.X.mean(axis=0)
    with pytest.raises(InputError, match=r"most variable of 2,255 genes(.|\n)*genes=\["):
        gm.tl.gene_network(many)


def test_genes_are_named_as_anyone_would(known: AnnData) -> None:
    by_id = known.copy()
    vocab = models.vocabulary("genemamba-mini")
    place = [vocab.name_to_gene[name] for name in known.var_names]
    by_id.var_names = vocab.ensembl_id[place]
    asked = ["cd3d", "CD3E", vocab.ensembl_id[vocab.name_to_gene["LYZ"]], "CD20", "MS4A1"]
    for cells in (known, by_id):
        found = gm.tl.gene_network(cells, genes=asked, threshold=0.5)
        assert found.genes.tolist() == ["CD3D", "CD3E", "LYZ", "MS4A1"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": "median"}, "threshold='median'"),
        ({"threshold": 5}, "threshold=5"),
        ({"n_permutations": 0}, "n_permutations=0"),
        ({"genes": ["G1", "G2"]}, "2 genes have a vector"),
        ({"genes": "G1"}, "1 genes have a vector"),
    ],
)
def test_says_what_is_wrong(tables, options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        gm.tl.gene_network(tables, **options)


def test_too_many_genes() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"2,001 genes.*\n.*genes="):
        gm.tl.gene_network(pd.DataFrame(rng.normal(size=(2001, 2))))


@pytest.mark.parametrize("name", ["gene_a", "shared"])
def test_an_embedding_does_not_overwrite_a_column(name):
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(9, 4)), list("abcdefghi"))
    with pytest.raises(InputError, match=f"'{name}'.* column of the edges"):
        gm.tl.gene_network({name: table})


@pytest.mark.parametrize("none", [np.nan, False, "no"])
def test_only_genes_marked_true_are_variable(none):
    known = gm.models.vocabulary("genemamba-mini").symbol
    names = [name for name in known if name][:2_500]
    cells = AnnData(np.ones((2, len(names)), "float32"), var=pd.DataFrame(index=names))
    cells.var["highly_variable"] = [True] * 50 + [none] * (len(names) - 50)
    assert list(gm.tl.gene_network(cells, n_permutations=1).genes) == names[:50]
