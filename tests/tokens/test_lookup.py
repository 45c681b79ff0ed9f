from __future__ import annotations

import numpy as np
import pytest

from genemamba.errors import InputError
from genemamba.tokens import Vocabulary
from genemamba.tokens.lookup import find_genes, gene_names


@pytest.fixture
def vocab() -> Vocabulary:
    ids = [f"ENSG0000000000{i}" for i in range(4)]
    symbols, aliases = ["CD4", "CD3D", "CD3E", "LYZ"], ["X|A1a", "T3D", "A1A", "X|LZM"]
    return Vocabulary(ids, symbols, median=[1.0] * 4, alias=aliases)


def test_symbols_aliases_and_ids(vocab):
    found = find_genes(["LYZ", "T3D", "ENSG00000000000.7"], vocab)
    assert found.tolist() == [5, 3, 2]
    assert find_genes([], vocab).tolist() == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cd3f"], "'cd3f' is not a gene of the model(.|\n)*did you mean 'CD3"),
        (["lzm", "lyz"], "'lzm' and 'lyz' are one gene"),
        (["a1a"], "'a1a' is not a gene"),  # A1a and A1A are two
        (["CD4", "CD3F"], "'CD3F'(.|\n)*'CD3"),
        (["Gapdh12345"], "use gene symbols or Ensembl ids"),
        (["X"], "'X' names several genes"),
        (["CD3D", "T3D"], "'CD3D' and 'T3D' are one gene"),
    ],
)
def test_refused(vocab, names, said):
    with pytest.raises(InputError, match=said):
        find_genes(names, vocab)


def test_case_is_ignored_where_it_leaves_one_gene(vocab):
    assert find_genes(["cd3d", "Lzm", "a1A".upper()], vocab).tolist() == [3, 5, 4]


@pytest.fixture
def both() -> Vocabulary:
    """Human genes whose mouse orthologues have the same name, another one, or are not known."""
    ids = ["ENSG00000073754", "ENSG00000110848", "ENSG00000198851", "ENSG00000234745"]
    return Vocabulary(ids, ["CD5L", "CD69", "CD3E", "HLA-B"], median=[1.0] * 4, alias=[""] * 4)


def test_names_are_those_of_the_organism(both):
    names = ["Cd3e", "ENSMUSG00000030156.8", "cd5l"]
    assert find_genes(names, both, organism="mouse").tolist() == [4, 3, 2]
    assert find_genes(["HLA-B", "CD3E"], both, organism="mouse").tolist() == [5, 4]
    assert gene_names(both, "mouse").tolist() == ["Cd5l", "Cd69", "Cd3e", "HLA-B"]
    assert gene_names(both).tolist() == ["CD5L", "CD69", "CD3E", "HLA-B"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Cd3x", r"'Cd3x' is not a gene of the model\n.*did you mean 'Chd3'"),
        ("H2-K1", r"'H2-K1' has no human gene as its one-to-one orthologue"),
        ("whatever it is", "Ensembl ids of mouse genes"),
    ],
)
def test_refused_of_the_organism(both, name, said):
    with pytest.raises(InputError, match=said):
        find_genes([name], both, organism="mouse")


def test_shared_and_missing_symbols_give_way_to_ids():
    vocab = Vocabulary(["ENSG1", "ENSG2", "ENSG3"], ["A", "A", ""], np.ones(3), [""] * 3)
    assert gene_names(vocab).tolist() == ["ENSG1", "ENSG2", "ENSG3"]
