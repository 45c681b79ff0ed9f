from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
from anndata import AnnData

import genemamba as gm
from genemamba.datasets import Corpus


def test_the_copy_has_the_first_genes_of_every_cell(
    pbmc: AnnData, scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    names = [f"ENSG{i:011d},{name}" for i, name in enumerate(pbmc.var_names)]
    (tmp_path / "names.csv").write_text("\n".join(names))
    pbmc[:50].write_h5ad(tmp_path / "cells.h5ad")
    gm.datasets.build_corpus(
        [tmp_path / "cells.h5ad"], tmp_path / "corpus", gene_names=tmp_path / "names.csv",
        min_genes=1, min_cells=1,
    )  # fmt: skip
    scripts["cut_corpus"].cut_corpus(tmp_path / "corpus", tmp_path / "cut", 30)
    whole, cut = Corpus(tmp_path / "corpus"), Corpus(tmp_path / "cut")
    cut.verify()
    assert len(cut) == len(whole)
    for cell in range(len(whole)):
        one, other = (corpus.rows(np.array([cell])) for corpus in (cut, whole))
        np.testing.assert_array_equal(one.indices, other.indices[:30])
        np.testing.assert_array_equal(one.data, other.data[:30])
