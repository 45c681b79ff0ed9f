"""Average profiles in a corpus: what is drawn from them, and what never is."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from genemamba.datasets import Corpus, build_corpus
from genemamba.datasets._profile_source import CELLS
from genemamba.datasets._profiles import AMBIENT, DEPTHS, GAMMA, Profiles
from genemamba.errors import InputError

SETTINGS = {"min_genes": 1, "min_cells": 1}


@pytest.fixture
def names(tmp_path: Path, pbmc: AnnData) -> Path:
    table = pd.DataFrame(
        {"id": [f"ENSG{i:011d}" for i in range(pbmc.n_vars)], "name": pbmc.var_names}
    )
    table.to_csv(tmp_path / "names.csv", header=False, index=False)
    return tmp_path / "names.csv"


@pytest.fixture
def averages(pbmc: AnnData) -> AnnData:
    """Six profiles in two tables; the second measures half of the genes."""
    rng = np.random.default_rng(0)
    x = rng.gamma(0.5, 100.0, (6, pbmc.n_vars))
    x[3:, ::2] = 0
    obs = pd.DataFrame(
        {"table": ["a"] * 3 + ["b"] * 3, "cell_type": ["T", "B", "odd", "T cells", "B", ""]},
        index=[f"p{i}" for i in range(6)],
    )
    half = np.arange(1, pbmc.n_vars, 2)
    measured = {"a": np.arange(pbmc.n_vars), "b": half}
    return AnnData(x, obs=obs, var=pbmc.var[[]], uns={"genes_measured": measured})


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    rows = [("a", "T", "CL:0000084"), ("a", "B", "CL:0000236"), ("b", "T cells", "CL:0000084"),
            ("b", "B", "CL:0000236"), ("a", "odd", ""), ("cells", "NK", "CL:0000623")]  # fmt: skip
    pd.DataFrame(rows, columns=["file", "label", "cl_id"]).to_csv(tmp_path / "l.csv", index=False)
    return tmp_path / "l.csv"


def build(averages: AnnData, pbmc: AnnData, names: Path, labels: Path | None, out: str) -> Corpus:
    averages.write_h5ad(names.parent / "types.h5ad")
    pbmc.obs["cell_type"] = np.where(np.arange(pbmc.n_obs) % 2, "NK", "what")
    pbmc.write_h5ad(names.parent / "cells.h5ad")
    return build_corpus(
        [names.parent / "cells.h5ad"], names.parent / out, gene_names=names,
        profiles=[names.parent / "types.h5ad"], labels=labels, **SETTINGS,
    )  # fmt: skip


def test_a_corpus_of_cells_and_profiles(
    averages: AnnData, pbmc: AnnData, names: Path, labels: Path
) -> None:
    corpus = build(averages, pbmc, names, labels, "c")
    assert corpus.groups == ["cells/all", "types/a", "types/b"]
    assert np.bincount(corpus.group).tolist() == [pbmc.n_obs, 3 * CELLS, 3 * CELLS]
    assert corpus.measured.sum(axis=1).tolist() == [
        pbmc.n_vars, pbmc.n_vars, len(averages.uns["genes_measured"]["b"]),
    ]  # fmt: skip
    named = [corpus.labels[i] if i >= 0 else "" for i in corpus.label]
    assert named[: pbmc.n_obs] == ["", "CL:0000623"] * (pbmc.n_obs // 2)
    drawn = named[pbmc.n_obs :: CELLS]
    assert drawn == ["CL:0000084", "CL:0000236", "", "CL:0000084", "CL:0000236", ""]
    assert corpus.manifest["unmapped"] == ["a: odd", "b: ", "cells: what"]
    assert (corpus.profile[: pbmc.n_obs] == -1).all()
    np.testing.assert_array_equal(corpus.profile[pbmc.n_obs :], np.repeat(np.arange(6), CELLS))
    corpus.verify()


def test_the_same_profiles_give_the_same_bytes(
    averages: AnnData, pbmc: AnnData, names: Path, labels: Path
) -> None:
    one, two = (build(averages, pbmc, names, labels, out) for out in ("c", "d"))
    # the manifest tells when a file was last written
    files = [{p.name: p.read_bytes() for p in c.folder.glob("*.*[vyz]")} for c in (one, two)]
    assert len(files[0]) > 10
    assert files[0] == files[1]


def test_cells_are_drawn_anew_and_real_ones_are_not(
    averages: AnnData, pbmc: AnnData, names: Path
) -> None:
    corpus = build(averages, pbmc, names, None, "c")
    cells = np.array([pbmc.n_obs + 1, 3, pbmc.n_obs + 4 * CELLS, 8])
    one, again, other = (corpus.drawn(cells, np.random.default_rng(s)) for s in (0, 0, 1))
    assert (one != again).nnz == 0
    np.testing.assert_array_equal(one[[1, 3]].toarray(), corpus.rows(cells[[1, 3]]).toarray())
    for row in (0, 2):
        assert (one[row] != other[row]).nnz > 50
    unmeasured = ~corpus.measured[2]
    assert unmeasured.sum() > 100
    assert not one[2][:, unmeasured].nnz


def test_what_is_drawn_follows_the_profile() -> None:
    """In the mean; more than Poisson, less than the gamma noise alone; depths as stated."""
    p = np.array([[0.7, 0.2, 0.1, 0.0], [0.0, 0.1, 0.2, 0.7]])
    profiles = Profiles(sparse.csr_matrix(p), np.array([0, 0]))
    counts = profiles.draw(np.zeros(20_000, int), np.random.default_rng(0)).toarray()
    depth = counts.sum(1)
    assert DEPTHS[0] * 0.8 < depth.min() < 900 and 13_000 < depth.max() < DEPTHS[1] * 1.1
    np.testing.assert_allclose(np.median(depth), np.sqrt(np.prod(DEPTHS)), rtol=0.05)
    ambient = AMBIENT[0] / sum(AMBIENT)
    assert 0 < (counts[:, 3] / depth).mean() < ambient * 0.7
    few = Profiles(sparse.csr_matrix(np.full((1, 500), 1 / 500)), np.array([0]))
    share = few.draw(np.zeros(2_000, int), np.random.default_rng(1)).toarray()
    share = share / share.sum(1, keepdims=True) * 500
    assert share.var() == pytest.approx(1 / GAMMA + 500 * np.mean(1 / depth), rel=0.1)


def test_no_drawn_cell_is_in_the_sketch(averages: AnnData, pbmc: AnnData, names: Path) -> None:
    corpus = build(averages, pbmc, names, None, "c")
    assert corpus.sketch(np.arange(len(corpus))).n_cells == pbmc.n_obs


def spoil(averages: AnnData, what: str) -> None:
    if what == "negative":
        averages.X[1, 5] = -1.0
    elif what == "infinite":
        averages.X[1, 5] = np.inf
    elif what == "empty":
        averages.X[1] = 0
    elif what == "no table":
        del averages.obs["table"]
    elif what == "foreign":
        averages.var_names = [f"Gm{i}" for i in range(averages.n_vars)]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("negative", r"profile 'p1' has values that are negative or not finite\n.*not logged"),
        ("infinite", "profile 'p1' has values"),
        ("empty", "profile 'p1' expresses no gene"),
        ("no table", r"cannot be read as profiles.*\n.*obs\['table'\]"),
        ("foreign", "human genes"),
    ],
)
def test_what_is_no_profile(
    averages: AnnData, pbmc: AnnData, names: Path, what: str, said: str
) -> None:
    spoil(averages, what)
    with pytest.raises(InputError, match=said):
        build(averages, pbmc, names, None, "c")


def test_a_table_of_labels_that_cannot_be_used(
    averages: AnnData, pbmc: AnnData, names: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"
    for text, said in (
        ("file,label\na,T\n", "columns file, label, cl_id"),
        ("file,label,cl_id\na,T,CL:0000084\na,T,CL:0000236\n", "gives 'T' of a two terms"),
    ):
        bad.write_text(text)
        with pytest.raises(InputError, match=said):
            build(averages, pbmc, names, bad, "c")
    bad.write_text("file,label,cl_id\na,T,CL:9999999\n")
    corpus = build(averages, pbmc, names, bad, "c")
    assert corpus.labels == [] and "a: T" in corpus.manifest["unmapped"]


def test_a_corpus_of_the_former_format_says_what_changed(
    averages: AnnData, pbmc: AnnData, names: Path
) -> None:
    corpus = build(averages, pbmc, names, None, "c")
    manifest = corpus.folder / "corpus.json"
    manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(InputError, match=r"format 1; .*profiles.*\n.*build it again"):
        Corpus(corpus.folder)


def test_former_symbols_are_aliases_unless_ambiguous(
    averages: AnnData, pbmc: AnnData, names: Path
) -> None:
    table = pd.read_csv(names, header=None)
    table["kind"], table["former"] = "protein_coding", ""
    table.loc[:2, "former"] = ["OLD1|SHARED", "SHARED", str(table[1][7])]
    table.to_csv(names, header=False, index=False)
    first, third = str(table[1][0]), str(table[1][2])
    averages.var_names = ["OLD1" if n == first else n for n in averages.var_names]
    corpus = build(averages, pbmc, names, None, "c")
    row = {s: i for i, s in enumerate(corpus.vocab.symbol)}
    assert corpus.vocab.alias[row[first]].split("|")[0] == "OLD1"
    assert corpus.measured[1, row[first]]
    assert "SHARED" not in "|".join(corpus.vocab.alias)
    assert str(table[1][7]) not in corpus.vocab.alias[row[third]]
    assert ad.read_h5ad(names.parent / "types.h5ad").n_vars == pbmc.n_vars
