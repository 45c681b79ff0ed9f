from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import InputError
from genemamba.metrics import ari
from genemamba.network import GeneMamba


@pytest.fixture
def table() -> pd.DataFrame:
    """Five bundles of genes; their vectors differ in length."""
    rng = np.random.default_rng(0)
    x = np.repeat(np.eye(5, 10), [80, 60, 50, 40, 30], axis=0) + 0.1 * rng.normal(size=(260, 10))
    x *= rng.uniform(0.1, 10, size=(260, 1))
    return pd.DataFrame(x, index=[f"G{i}" for i in range(260)])


def test_finds_the_bundles(table) -> None:
    table.loc["G9"] = np.nan
    modules = gm.tl.gene_modules(table, resolution=0.3)
    assert modules.name == "module"
    assert modules.index.name == "gene"
    assert modules.index.tolist() == [g for g in table.index if g != "G9"]
    truth = pd.Series(np.repeat(np.arange(5), [80, 60, 50, 40, 30]), table.index).drop("G9")
    assert ari(modules.astype(str), truth.astype(str)) > 0.95
    assert modules.value_counts().index[0] == "0"


def test_the_largest_come_first(table) -> None:
    shuffled = table.sample(frac=1, random_state=0)  # small communities may be found first
    for resolution in (0.3, 1, 3):
        modules = gm.tl.gene_modules(shuffled, resolution=resolution)
        assert modules.cat.categories.tolist() == [str(i) for i in range(modules.nunique())]
        sizes = modules.value_counts().reindex(modules.cat.categories)
        assert sizes.is_monotonic_decreasing


def test_the_seed_decides(table) -> None:
    assert gm.tl.gene_modules(table).equals(gm.tl.gene_modules(table))
    generators = np.random.default_rng(1), np.random.default_rng(1)
    one, two = (gm.tl.gene_modules(table, rng=rng) for rng in generators)
    assert one.equals(two)


def test_the_length_of_vectors_does_not_matter(table) -> None:
    assert gm.tl.gene_modules(table * 1e-30).equals(gm.tl.gene_modules(table))


def test_says_what_is_wrong(table) -> None:
    with pytest.raises(InputError, match="embedding is a dict"):
        gm.tl.gene_modules({"a": table})
    with pytest.raises(InputError, match="n_neighbors=260"):
        gm.tl.gene_modules(table, n_neighbors=260)
    for wrong in (1, 2.5, "15", True):
        with pytest.raises(InputError, match="n_neighbors"):
            gm.tl.gene_modules(table, n_neighbors=wrong)
    for resolution in (0, -1.0, "1", float("nan"), float("inf")):
        with pytest.raises(InputError, match="resolution"):
            gm.tl.gene_modules(table, resolution=resolution)


def test_cells_are_enough(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc = pbmc[:100, :300].copy()
    plain = gm.tl.gene_modules(pbmc)
    gm.tl.gene_embedding(pbmc)
    table = pd.DataFrame(pbmc.varm["X_genemamba_gene"], pbmc.var_names)
    assert plain.equals(gm.tl.gene_modules(table))
    gm.tl.gene_embedding(pbmc, kind="context", model=small_model)
    table = pd.DataFrame(pbmc.varm["X_genemamba_gene"], pbmc.var_names)
    assert gm.tl.gene_modules(pbmc).equals(gm.tl.gene_modules(table))
