from __future__ import annotations

import pytest

from genemamba.errors import InputError
from genemamba.tokens import Vocabulary
from genemamba.tokens.lookup import find_genes


@pytest.fixture
def vocab() -> Vocabulary:
    ids = [f"ENSG0000000000{i}" for i in range(4)]
    symbols, aliases = ["CD4", "CD3D", "CD3E", "LYZ"], ["X", "T3D", "", "X|LZM"]
    return Vocabulary(ids, symbols, median=[1.0] * 4, alias=aliases)


def test_symbols_aliases_and_ids(vocab):
    found = find_genes(["LYZ", "T3D", "ENSG00000000000.7"], vocab)
    assert found.tolist() == [5, 3, 2]
    assert find_genes([], vocab).tolist() == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cd3d"], "'cd3d' is not a gene of the model(.|\n)*did you mean 'CD3D'"),
        (["CD4", "CD3F"], "'CD3F'(.|\n)*'CD3"),
        (["Gapdh12345"], "use gene symbols or Ensembl ids"),
        (["X"], "'X' names several genes"),
        (["CD3D", "T3D"], "'CD3D' and 'T3D' are one gene"),
    ],
)
def test_refused(vocab, names, said):
    with pytest.raises(InputError, match=said):
        find_genes(names, vocab)
