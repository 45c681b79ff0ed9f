from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from mudata import MuData
from sklearn.metrics.pairwise import cosine_similarity

import genemamba as gm
from genemamba import models
from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.tokens.orthologues import Orthologues


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.normal(size=(50, 8)), index=[f"G{i}" for i in range(50)])


@pytest.fixture
def known(pbmc: AnnData) -> AnnData:
    """The genes of `pbmc` that the bundled model knows."""
    names = models.vocabulary("genemamba-mini").name_to_gene
    return pbmc[:, [names.get(name, -1) >= 0 for name in pbmc.var_names]].copy()


def test_they_are_sorted_by_cosine(table) -> None:
    table.loc["G7"] = np.nan
    found = gm.tl.nearest_genes({"a": table, "b": table.iloc[:20]}, ["G3", "G40"], n=5)
    assert list(found) == ["query", "vectors", "rank", "gene", "cosine"]
    assert found.groupby(["query", "vectors"], sort=False).size().to_dict() == {
        ("G3", "a"): 5, ("G3", "b"): 5, ("G40", "a"): 5,
    }  # fmt: skip
    left = table.drop("G7")
    cosine = pd.Series(cosine_similarity(left.loc[["G3"]], left)[0], left.index).drop("G3")
    expected = cosine.sort_values(ascending=False).head(5)
    own = found[(found["query"] == "G3") & (found["vectors"] == "a")]
    assert own["gene"].tolist() == expected.index.tolist()
    assert own["rank"].tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(own["cosine"], expected, atol=1e-6)


def test_no_more_than_there_are(table) -> None:
    assert len(gm.tl.nearest_genes(table, ["g3", "G3"], n=100)) == 49


def logged(cells: AnnData) -> AnnData:
    return sc.datasets.pbmc68k_reduced().raw.to_adata()


def by_id(cells: AnnData) -> AnnData:
    vocab = models.vocabulary("genemamba-mini")
    cells.var_names = vocab.ensembl_id[[vocab.name_to_gene[n] for n in cells.var_names]] + ".4"
    return cells


def scaled(cells: AnnData) -> AnnData:
    cells.X = cells.X - cells.X.mean(axis=0)
    return cells


@pytest.mark.parametrize(
    "change", [lambda c: c, logged, by_id, scaled, lambda c: MuData({"rna": c})]
)
@pytest.mark.parametrize("name", ["MS4A1", "ms4a1", "CD20", "ENSG00000156738"])
def test_whatever_the_values_and_however_it_is_named(known: AnnData, change, name: str) -> None:
    found = gm.tl.nearest_genes(change(known), name, n=2)
    assert found["query"].tolist() == ["MS4A1", "MS4A1"]
    assert found["gene"].tolist() == ["CD79A", "BANK1"]
    assert found["vectors"].tolist() == ["static", "static"]


def test_mouse_cells_have_mouse_names(known: AnnData) -> None:
    mouse = Orthologues.load("mouse")
    names = {human: name for name, human in mouse.symbols.items()}
    vocab = models.vocabulary("genemamba-mini")
    ids = vocab.ensembl_id[[vocab.name_to_gene[n] for n in known.var_names]]
    cells = known[:, [i in names for i in ids]].copy()
    cells.var_names = [names[i] for i in ids if i in names]
    own = {human: name for name, human in mouse.ids.items()}
    for given in (cells.var_names, [own[mouse.symbols[name]] for name in cells.var_names]):
        cells.var_names = given
        for name in ("Ms4a1", "MS4A1", "ms4a1", "ENSMUSG00000024673"):
            found = gm.tl.nearest_genes(cells, name, n=2)
            assert found["query"].tolist() == ["Ms4a1", "Ms4a1"]
            assert found["gene"].tolist() == ["Cd79a", "Bank1"]
    with pytest.raises(InputError, match="'H2-K1' has no human gene as its one-to-one orthologue"):
        gm.tl.nearest_genes(cells, "H2-K1")


def test_vectors_of_these_cells_are_listed_as_well(pbmc: AnnData) -> None:
    cells = pbmc[:40].copy()
    gm.tl.gene_embedding(cells)
    assert gm.tl.nearest_genes(cells, "LYZ")["vectors"].unique().tolist() == ["static"]
    gm.tl.gene_embedding(cells, kind="context")
    found = gm.tl.nearest_genes(cells, "LYZ", n=4)
    assert found["vectors"].tolist() == ["static"] * 4 + ["context"] * 4
    table = pd.DataFrame(cells.varm["X_genemamba_gene"], cells.var_names)
    own = gm.tl.nearest_genes(table, "LYZ", n=4)
    assert found["gene"].tolist()[4:] == own["gene"].tolist()


def test_of_a_model_that_was_not_saved_only_its_vectors_are_known(
    pbmc: AnnData, small_model: GeneMamba
) -> None:
    gm.tl.gene_embedding(pbmc, model=small_model)
    found = gm.tl.nearest_genes(pbmc, "lyz", n=3)
    expected = gm.tl.nearest_genes(gm.tl.gene_embedding(model=small_model), "LYZ", n=3)
    assert found["gene"].tolist() == expected["gene"].tolist()


@pytest.mark.parametrize(
    ("genes", "options", "said"),
    [
        ("MS4A11", {}, r"'MS4A11' is not a gene of the model\n.*did you mean 'MS4A1'"),
        ("INS", {}, r"not among those of adata\n.*gm.tl.gene_embedding\(\)"),
        ([], {}, "genes is empty"),
        (None, {}, "genes=None names no gene"),
        ("LYZ", {"n": 0}, "n=0"),
    ],
)
def test_says_what_is_wrong(pbmc: AnnData, genes, options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        gm.tl.nearest_genes(pbmc, genes, **options)
    table = gm.tl.gene_embedding().filter(pbmc.var_names, axis=0)
    with pytest.raises(InputError):
        gm.tl.nearest_genes(table, genes, **options)


def test_neither_cells_nor_a_table() -> None:
    with pytest.raises(InputError, match="embeddings is a str, not cells or a table"):
        gm.tl.nearest_genes("cells.h5ad", "LYZ")
