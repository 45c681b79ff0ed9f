"""Corpora from files, beside what the files say."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from genemamba.datasets import Corpus, _blocks, _build, build_corpus
from genemamba.datasets._names import with_former_names
from genemamba.datasets._store import Shard
from genemamba.errors import InputError
from genemamba.tokens import FIRST_GENE, MeanRanking, Vocabulary, digests, rank_csr

SETTINGS = {"min_genes": 1, "min_cells": 10}


@pytest.fixture
def names(tmp_path: Path, pbmc: AnnData) -> Path:
    table = pd.DataFrame({"id": ids(pbmc.n_vars), "name": pbmc.var_names})
    table.to_csv(tmp_path / "names.csv", header=False, index=False)
    return tmp_path / "names.csv"


@pytest.fixture
def two_files(tmp_path: Path, pbmc: AnnData) -> list[Path]:
    """Two files with other genes, one library of logged values, one column under an alias."""
    one = pbmc[:300, :500].copy()
    one.X = sparse.csr_matrix(one.X.astype(np.float32))
    one.obs["sample"] = ["s1"] * 150 + ["s2"] * 150
    one.X[150:] = sparse.csr_matrix(np.log1p(one.X[150:].toarray()))
    one.write_h5ad(tmp_path / "one.h5ad")
    two = pbmc[300:, 200:].copy()
    two.var["ensembl_id"] = ids(pbmc.n_vars)[200:]
    two.var_names = ["former name", *two.var_names[1:]]
    two.write_h5ad(tmp_path / "two.h5ad")
    return [tmp_path / "one.h5ad", tmp_path / "two.h5ad"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_blocks, "BLOCK", 64)


def ids(n: int) -> list[str]:
    return [f"ENSG{i:011d}" for i in range(n)]


def everything(corpus: Corpus) -> sparse.csr_matrix:
    return corpus.rows(np.arange(len(corpus)))


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_columns_of_one_gene_are_added_and_others_left_out(
    names: Path, pbmc: AnnData, tmp_path: Path
) -> None:
    pbmc.write_h5ad(tmp_path / "cells.h5ad")
    plain = build_corpus([tmp_path / "cells.h5ad"], tmp_path / "a", gene_names=names, **SETTINGS)
    part = np.random.default_rng(0).binomial(pbmc.X[:, :50], 0.4)
    x = np.hstack([part, pbmc.X, np.full((700, 2), 300)])
    x[:, 50:100] -= part
    two = AnnData(sparse.csr_matrix(x), obs=pbmc.obs)
    two.var_names = [*ids(50), *pbmc.var_names, "CD3", "CD19_TotalSeq"]
    two.var["feature_types"] = ["Gene Expression"] * 815 + ["Antibody Capture"] * 2
    (tmp_path / "two").mkdir()
    two.write_h5ad(tmp_path / "two/cells.h5ad")
    joined = build_corpus(
        [tmp_path / "two/cells.h5ad"], tmp_path / "b", gene_names=names, **SETTINGS
    )
    assert joined.vocab.sha256 == plain.vocab.sha256
    np.testing.assert_array_equal(everything(joined).toarray(), everything(plain).toarray())


def test_files_with_other_genes_become_one_corpus(
    two_files: list[Path], names: Path, pbmc: AnnData, tmp_path: Path
) -> None:
    corpus = build_corpus(two_files, tmp_path / "c", gene_names=names, **SETTINGS)
    assert corpus.groups == ["one/s1", "two/all"]  # s2 is not counts
    assert np.bincount(corpus.group).tolist() == [150, 400]
    counts = everything(corpus)
    column = {s: i for i, s in enumerate(corpus.vocab.symbol)}
    for gene in ("CD3D", "HLA-DRA", "GNLY"):
        at = pbmc.var_names.get_loc(gene)
        expected = np.r_[pbmc.X[:150, at] * (at < 500), pbmc.X[300:, at] * (at >= 200)]
        np.testing.assert_array_equal(counts[:, column[gene]].toarray().ravel(), expected)
    assert corpus.vocab.alias[column[pbmc.var_names[200]]] == "former name"
    assert counts.getnnz(axis=0).min() >= 10
    one, two = corpus.manifest["sources"]
    assert (one["kept"], one["not_counts"], two["kept"]) == (150, 150, 400)
    corpus.verify()


def test_medians_and_ranks_are_those_of_the_counts(
    names: Path, pbmc: AnnData, tmp_path: Path
) -> None:
    pbmc.write_h5ad(tmp_path / "x.h5ad")
    corpus = build_corpus([tmp_path / "x.h5ad"], tmp_path / "c", gene_names=names, **SETTINGS)
    x = pbmc.X / pbmc.X.sum(1, keepdims=True) * 1e4
    column = {s: i for i, s in enumerate(pbmc.var_names)}
    for symbol, median in zip(corpus.vocab.symbol[::37], corpus.vocab.median[::37], strict=True):
        values = x[:, column[symbol]]
        assert median == pytest.approx(np.median(values[values > 0]), rel=5e-3)
    counts = everything(corpus)
    token = np.arange(corpus.vocab.n_genes, dtype=np.int32) + FIRST_GENE
    ranked = rank_csr(
        counts.indptr, counts.indices, counts.data, token, corpus.vocab.median, 10_000
    )
    np.testing.assert_array_equal(counts.indices + FIRST_GENE, ranked.tokens)
    mean = MeanRanking.of(ranked, corpus.vocab.n_genes)
    np.testing.assert_allclose(corpus.ranking.mean, mean.mean, atol=1e-4)
    np.testing.assert_allclose(corpus.ranking.sd, mean.sd, atol=1e-4)


@pytest.mark.parametrize("layout", ["dense", "csc", "zarr", "int64", "float32"])
def test_the_layout_of_a_file_changes_nothing(
    names: Path, pbmc: AnnData, tmp_path: Path, layout: str
) -> None:
    (tmp_path / "a").mkdir()
    as_csr = pbmc.copy()
    as_csr.X = sparse.csr_matrix(as_csr.X)
    as_csr.write_h5ad(tmp_path / "a" / "x.h5ad")
    other = tmp_path / ("x.zarr" if layout == "zarr" else "x.h5ad")
    pbmc.X = {
        "dense": lambda x: x,
        "csc": sparse.csc_matrix,
        "zarr": sparse.csr_matrix,
        "int64": lambda x: x.astype(np.int64),
        "float32": lambda x: sparse.csr_matrix(x.astype(np.float32)),
    }[layout](pbmc.X)
    pbmc.write_zarr(other) if layout == "zarr" else pbmc.write_h5ad(other)
    first = build_corpus([tmp_path / "a" / "x.h5ad"], tmp_path / "c", gene_names=names, **SETTINGS)
    second = build_corpus([other], tmp_path / "d", gene_names=names, **SETTINGS)
    assert (everything(first) != everything(second)).nnz == 0
    assert first.vocab.sha256 == second.vocab.sha256


def test_the_same_cell_is_taken_once(names: Path, pbmc: AnnData, tmp_path: Path) -> None:
    pbmc.write_h5ad(tmp_path / "x.h5ad")
    again = pbmc[::-1, ::-1][:200].copy()  # other order of cells and genes
    again.obs_names = [f"other{i}" for i in range(200)]
    again.write_h5ad(tmp_path / "y.h5ad")
    files = [tmp_path / "x.h5ad", tmp_path / "y.h5ad"]
    corpus = build_corpus(files, tmp_path / "c", gene_names=names, **SETTINGS)
    assert len(corpus) == 700
    assert corpus.manifest["sources"][1]["duplicates"] == 200


def test_only_genes_of_a_kind(names: Path, pbmc: AnnData, tmp_path: Path) -> None:
    table = pd.read_csv(names, header=None)
    table["biotype"] = np.where(np.arange(len(table)) % 2, "miRNA", "lncRNA")
    table.to_csv(names, header=False, index=False)
    pbmc.write_h5ad(tmp_path / "x.h5ad")
    corpus = build_corpus(
        [tmp_path / "x.h5ad"], tmp_path / "c", gene_names=names, biotypes=["miRNA"], **SETTINGS
    )
    assert {int(i[-1]) % 2 for i in corpus.vocab.ensembl_id} == {1}


@pytest.mark.parametrize("stage", ["_filter", "write_json", "mean_ranking"])
def test_a_build_that_broke_off_goes_on_to_the_same_bytes(
    two_files: list[Path], names: Path, tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_corpus(two_files, tmp_path / "whole", gene_names=names, **SETTINGS)
    module = _blocks if stage == "_filter" else _build
    calls, real = 0, getattr(module, stage)

    def broken(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == (1 if stage == "mean_ranking" else 3):
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, stage, broken)
        build_corpus(two_files, tmp_path / "broken", gene_names=names, **SETTINGS)
    with pytest.raises(InputError, match="no complete corpus"):
        Corpus(tmp_path / "broken")
    build_corpus(two_files, tmp_path / "broken", gene_names=names, **SETTINGS)
    assert content(tmp_path / "whole") == content(tmp_path / "broken")


def test_the_number_of_threads_changes_no_byte(
    two_files: list[Path], names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_KEPT", 5_000)  # medians are not exact then
    build_corpus(two_files, tmp_path / "two", gene_names=names, **SETTINGS)
    monkeypatch.setattr(_build, "THREADS", 1)
    build_corpus(two_files, tmp_path / "one", gene_names=names, **SETTINGS)
    assert content(tmp_path / "two") == content(tmp_path / "one")


KILLED = """
import sys, time
from genemamba.datasets import _blocks, build_corpus
_blocks.BLOCK = 64
real = _blocks._filter
def slow(*arguments):
    time.sleep(0.05)
    return real(*arguments)
_blocks._filter = slow
build_corpus(sys.argv[2:], sys.argv[1] + "/broken", gene_names=sys.argv[1] + "/names.csv",
                    min_genes=1, min_cells=10)
"""


def test_a_killed_build_goes_on(two_files: list[Path], names: Path, tmp_path: Path) -> None:
    build_corpus(two_files, tmp_path / "whole", gene_names=names, **SETTINGS)
    command = [sys.executable, "-c", KILLED, str(tmp_path), *map(str, two_files)]
    process = subprocess.Popen(command)
    raw = tmp_path / "broken" / "raw"
    while process.poll() is None and len(list(raw.glob("*.json"))) < 4:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 4 <= len(list(raw.glob("*.json"))) < 12
    build_corpus(two_files, tmp_path / "broken", gene_names=names, **SETTINGS)
    assert content(tmp_path / "whole") == content(tmp_path / "broken")


def test_a_finished_build_is_opened(two_files: list[Path], names: Path, tmp_path: Path) -> None:
    first = build_corpus(two_files, tmp_path / "c", gene_names=names, **SETTINGS)
    before = content(tmp_path / "c")
    again = build_corpus(two_files, tmp_path / "c", gene_names=names, **SETTINGS)
    assert len(again) == len(first)
    assert content(tmp_path / "c") == before
    with pytest.raises(InputError, match="min_cells was 10, is 11"):
        build_corpus(two_files, tmp_path / "c", gene_names=names, min_genes=1, min_cells=11)


def test_a_full_disk(
    two_files: list[Path], names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(InputError, match="disk is full") as caught:
        patch.setattr(Shard, "save", full)
        build_corpus(two_files, tmp_path / "c", gene_names=names, **SETTINGS)
    assert "it resumes" in caught.value.fix
    build_corpus(two_files, tmp_path / "c", gene_names=names, **SETTINGS)


def spoil(pbmc: AnnData, how: str) -> AnnData:
    if how == "logged":
        pbmc.X = np.log1p(pbmc.X / pbmc.X.sum(1, keepdims=True) * 1e4).astype(np.float32)
    elif how == "mouse":
        pbmc.var_names = [name.capitalize() for name in pbmc.var_names]
    elif how == "none":
        pbmc.var_names = [f"peak{i}" for i in range(pbmc.n_vars)]
    elif how == "negative":
        pbmc.X[3, 3] = -1
    elif how == "few":
        pbmc.X[:, 5:] = 0
    return pbmc


BAD = {
    "logged": "holds no counts",
    "mouse": "look like mouse symbols",
    "none": "none of 765 names",
    "negative": "negative or not finite",
    "few": "has 200 known genes",
}


@pytest.mark.parametrize("how", BAD)
def test_a_file_that_cannot_be_used_is_named(
    pbmc: AnnData, names: Path, tmp_path: Path, how: str
) -> None:
    spoil(pbmc, how).write_h5ad(tmp_path / "bad.h5ad")
    with pytest.raises(InputError, match=BAD[how]) as caught:
        build_corpus([tmp_path / "bad.h5ad"], tmp_path / "c", gene_names=names)
    assert "bad" in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize("how", ["truncated", "missing", "text"])
def test_a_file_that_cannot_be_read(pbmc: AnnData, names: Path, tmp_path: Path, how: str) -> None:
    file = tmp_path / "bad.h5ad"
    if how == "truncated":
        pbmc.write_h5ad(file)
        file.write_bytes(file.read_bytes()[:-20_000])
    elif how == "text":
        file.write_text("cells")
    said = "does not exist" if how == "missing" else "cannot be read"
    with pytest.raises(InputError, match=rf"bad\.h5ad {said}"):
        build_corpus([file], tmp_path / "c", gene_names=names)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("how", ["column", "shorter"])
def test_a_matrix_that_is_damaged(pbmc: AnnData, names: Path, tmp_path: Path, how: str) -> None:
    pbmc.X = sparse.csr_matrix(pbmc.X)
    pbmc.write_h5ad(tmp_path / "bad.h5ad")
    with h5py.File(tmp_path / "bad.h5ad", "r+") as file:
        if how == "column":
            file["X/indices"][-1] = 10**6
        else:
            data = file["X/data"][:-9]
            del file["X/data"]
            file["X/data"] = data
    said = "does not exist" if how == "missing" else "cannot be read"
    with pytest.raises(InputError, match=rf"bad\.h5ad {said}"):
        build_corpus([tmp_path / "bad.h5ad"], tmp_path / "c", gene_names=names)


def test_a_table_of_names_that_is_none(two_files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("CD4,ENSG1\n")
    with pytest.raises(InputError, match="not a table of human Ensembl ids"):
        build_corpus(two_files, tmp_path / "c", gene_names=tmp_path / "n.csv")
    with pytest.raises(InputError, match="there is no file"):
        build_corpus([], tmp_path / "c", gene_names=tmp_path / "n.csv")


def test_another_folder_is_left_alone(two_files: list[Path], names: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not empty"):
        build_corpus(two_files, tmp_path, gene_names=names)


def test_damage_is_found(two_files: list[Path], names: Path, tmp_path: Path) -> None:
    corpus = build_corpus(two_files, tmp_path / "c", gene_names=names, **SETTINGS)
    file = next((tmp_path / "c").glob("*.counts.npy"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(InputError, match="is damaged"):
        Corpus(corpus.folder).verify()


def test_former_names_are_added_once() -> None:
    vocab = Vocabulary(
        ensembl_id=["ENSG1", "ENSG2"], symbol=["RACK1", "CD4"], median=[1, 1], alias=["x", ""]
    )
    twice = with_former_names(with_former_names(vocab))
    assert twice.alias.tolist() == ["x|GNB2L1", ""]
    assert twice.sha256 == vocab.sha256
