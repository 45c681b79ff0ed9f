from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from anndata import AnnData

from genemamba.datasets import Corpus, build_corpus


@pytest.fixture
def corpus(pbmc: AnnData, tmp_path: Path) -> Corpus:
    """Real cells as a corpus of two libraries."""
    ids = [f"ENSG{i:011d}" for i in range(pbmc.n_vars)]
    names = tmp_path / "names.csv"
    pd.DataFrame({"id": ids, "name": pbmc.var_names}).to_csv(names, header=False, index=False)
    pbmc.obs["sample"] = pbmc.obs["batch"]
    pbmc.write_h5ad(tmp_path / "cells.h5ad")
    return build_corpus(
        [tmp_path / "cells.h5ad"], tmp_path / "corpus", gene_names=names, min_genes=1, min_cells=1
    )
