from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from genemamba.datasets import read_corpus
from genemamba.datasets._corpus import nonzero_medians, with_former_names
from genemamba.errors import InputError
from genemamba.tokens import Vocabulary


@pytest.fixture
def folder(tmp_path: Path, pbmc: AnnData) -> Path:
    """Two files with other genes, one library of logged values, one column under an alias."""
    names = pd.Series(pbmc.var_names)
    ids = [f"ENSG{i:011d}" for i in range(len(names))]
    pd.DataFrame({"id": ids, "name": names}).to_csv(
        tmp_path / "names.csv", header=False, index=False
    )
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    one = pbmc[:300, :500].copy()
    one.X = sparse.csr_matrix(one.X.astype(np.float32))
    one.obs["sample"] = ["s1"] * 150 + ["s2"] * 150
    one.X[150:] = sparse.csr_matrix(np.log1p(one.X[150:].toarray()))
    one.write_h5ad(corpus / "one.h5ad")
    two = pbmc[300:, 200:].copy()
    two.var["ensembl_id"] = ids[200:]
    two.var_names = ["former name", *two.var_names[1:]]
    two.write_h5ad(corpus / "two.h5ad")
    return tmp_path


def test_files_with_other_genes_become_one_corpus(folder: Path, pbmc: AnnData) -> None:
    corpus = read_corpus(folder / "corpus", folder / "names.csv", min_genes=1, min_cells=10)
    assert corpus.groups == ["one/s1", "two/all"]  # s2 is not counts
    assert np.bincount(corpus.group).tolist() == [150, 400]
    column = {s: i for i, s in enumerate(corpus.vocab.symbol)}
    for gene in ("CD3D", "HLA-DRA", "GNLY"):
        at = pbmc.var_names.get_loc(gene)
        expected = np.r_[pbmc.X[:150, at] * (at < 500), pbmc.X[300:, at] * (at >= 200)]
        np.testing.assert_array_equal(corpus.counts[:, column[gene]].toarray().ravel(), expected)
    renamed = pbmc.var_names[200]
    assert corpus.vocab.alias[column[renamed]] == "former name"
    assert corpus.counts.getnnz(axis=0).min() >= 10


def test_medians_are_exact(pbmc: AnnData) -> None:
    total = pbmc.X.sum(1).astype(float)
    found = nonzero_medians(sparse.csr_matrix(pbmc.X), total)
    for gene in range(0, pbmc.n_vars, 37):
        x = pbmc.X[:, gene]
        assert found[gene] == pytest.approx(np.median((1e4 * x / total)[x > 0]), rel=1e-12)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.h5ad file"):
        read_corpus(tmp_path, tmp_path / "names.csv")


def test_former_names_are_added_once() -> None:
    vocab = Vocabulary(
        ensembl_id=["ENSG1", "ENSG2"], symbol=["RACK1", "CD4"], median=[1, 1], alias=["x", ""]
    )
    twice = with_former_names(with_former_names(vocab))
    assert twice.alias.tolist() == ["x|GNB2L1", ""]
    assert twice.sha256 == vocab.sha256
