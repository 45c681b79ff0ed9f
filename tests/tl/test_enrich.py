from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom

import genemamba as gm
from genemamba.errors import InputError

GENES = [f"G{i}" for i in range(100)]


@pytest.fixture
def modules() -> pd.Series:
    """Three modules of twenty and forty genes of the background."""
    names = np.repeat(["x", "y", "z", None], [20, 20, 20, 40])
    return pd.Series(pd.Categorical(names), index=GENES)


SETS = {
    "in x": [*GENES[:12], "elsewhere"],
    "all over": GENES[::7],
    "small": GENES[:3],
    "outside": ["A", "B", "C", "D", "E"],
}


def test_the_table(modules) -> None:
    found = gm.tl.enrich(modules, SETS)
    first = found.iloc[0]
    assert (first["module"], first["gene_set"]) == ("x", "in x")
    assert (first["overlap"], first["module_size"], first["set_size"]) == (12, 20, 12)
    assert first["expected"] == pytest.approx(2.4)
    assert first["p_value"] == pytest.approx(hypergeom.sf(11, 100, 12, 20))
    assert first["fdr"] == pytest.approx(6 * first["p_value"])  # 3 modules × 2 sets
    assert first["genes"] == ";".join(GENES[:12])
    assert set(found["gene_set"]) == {"in x", "all over"}
    assert (found["overlap"] > 0).all()
    assert found["p_value"].is_monotonic_increasing


def test_each_row_by_hand(modules) -> None:
    for row in gm.tl.enrich(modules, SETS, min_size=1).itertuples():
        members, inside = set(SETS[row.gene_set]), set(modules.index[modules == row.module])
        assert set(row.genes.split(";")) == members & inside
        assert row.overlap == len(members & inside)
        assert row.set_size == len(members & set(GENES))


def test_a_file_and_a_dictionary_give_the_same(modules, tmp_path: Path) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text("\n".join("\t".join([name, "source", *genes]) for name, genes in SETS.items()))
    pd.testing.assert_frame_equal(gm.tl.enrich(modules, path), gm.tl.enrich(modules, SETS))


def test_modules_at_random_are_rich_in_nothing() -> None:
    rng = np.random.default_rng(0)
    modules = pd.Series(rng.integers(5, size=100), index=GENES)
    sets = {f"set {i}": rng.choice(GENES, 15, replace=False).tolist() for i in range(40)}
    assert not (gm.tl.enrich(modules, sets)["fdr"] < 0.05).any()


def test_names_of_modules_may_be_numbers(modules) -> None:
    numbers = modules.map({"x": 1.0, "y": 2.0, "z": 10.0}).astype(float)
    assert set(gm.tl.enrich(numbers, SETS)["module"]) == {"1.0", "2.0", "10.0"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: ({"x": ["A"]}, SETS), "modules is a dict"),
        (lambda m: (m.set_axis(["A"] * 100), SETS), "more than once, such as 'A'"),
        (lambda m: (m.where(m == "nobody"), SETS), "no gene in a module"),
        (lambda m: (m, {"outside": SETS["outside"]}), "none of 1 gene sets has 5 genes"),
        (lambda m: (m, {}), "none of 0 gene sets"),
        (lambda m: (m, "nowhere.gmt"), "there is no file"),
    ],
)
def test_says_what_is_wrong(modules, change, said: str) -> None:
    with pytest.raises(InputError, match=said):
        gm.tl.enrich(*change(modules))


def test_on_hallmark(shared_data: Path) -> None:
    """Genes of two hallmarks, put into modules, come back with their names."""
    path = shared_data / "gene-sets" / "human_hallmark_v2025.gmt.gz"
    from genemamba.genes.enrichment import read_gmt

    sets = read_gmt(path)
    assert len(sets) == 50
    module = pd.Series(index=sorted(set().union(*sets.values())), dtype=object)
    module[sets["HALLMARK_HYPOXIA"][:50]] = "m"
    assert gm.tl.enrich(module, path).iloc[0]["gene_set"] == "HALLMARK_HYPOXIA"
