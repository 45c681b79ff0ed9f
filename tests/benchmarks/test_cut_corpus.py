from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
from anndata import AnnData

from genemamba.datasets import Corpus


def test_the_copy_has_the_first_genes_of_every_cell(
    write_corpus: Callable[[AnnData, Path], Path], pbmc: AnnData, tmp_path: Path,
    scripts: dict[str, ModuleType],
) -> None:  # fmt: skip
    corpus = write_corpus(pbmc[:50], tmp_path)
    scripts["cut_corpus"].cut_corpus(corpus, tmp_path / "cut", 30)
    whole, cut = Corpus(corpus), Corpus(tmp_path / "cut")
    cut.verify()
    assert len(cut) == len(whole)
    for cell in range(len(whole)):
        one, other = (corpus.rows(np.array([cell])) for corpus in (cut, whole))
        np.testing.assert_array_equal(one.indices, other.indices[:30])
        np.testing.assert_array_equal(one.data, other.data[:30])
