from __future__ import annotations

import numpy as np
import pytest

from genemamba.errors import InputError
from genemamba.tokens import Vocabulary, match

VOCAB = Vocabulary(
    ensembl_id=[f"ENSG0000000000{g}" for g in range(6)],
    symbol=["CD4", "CD19", "TWIN", "TWIN", "CD3E", ""],
    median=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    alias=["", "B4|CD4", "SHARED", "SHARED", "", "ORF9"],
)


def test_every_status() -> None:
    names = ["CD19", "ENSG00000000000.15", "TWIN", "SHARED", "ORF9", "CD3E", "B4", "Cd3e", "x"]
    found = match(names, VOCAB)
    assert found.status.tolist() == [
        *("symbol", "id", "ambiguous", "ambiguous", "alias", "symbol"),
        *("duplicate", "unknown", "unknown"),
    ]
    assert found.token.tolist() == [3, 2, -1, -1, 7, 6, -1, -1, -1]
    assert found.token.dtype == np.int32
    np.testing.assert_array_equal(found.median[[0, 1, 4, 5]], [2, 1, 6, 5])
    assert np.isnan(found.median[found.token < 0]).all()
    assert found.counts == {
        "id": 1,
        "symbol": 2,
        "alias": 1,
        "ambiguous": 2,
        "duplicate": 1,
        "unknown": 2,
    }


@pytest.mark.parametrize(
    ("names", "winner"),
    [
        (["B4", "CD19", "ENSG00000000001"], 2),
        (["B4", "CD19"], 1),
        (["ENSG00000000001.2", "ENSG00000000001.1", "CD19"], 0),
        (["ENSG00000000001.1_PAR_Y", "CD19"], 0),
    ],
)
def test_the_better_match_keeps_the_gene(names: list[str], winner: int) -> None:
    found = match(names, VOCAB)
    assert np.flatnonzero(found.token >= 0).tolist() == [winner]
    assert (np.delete(found.status, winner) == "duplicate").all()


def test_a_symbol_goes_before_an_alias() -> None:
    found = match(["CD4"], VOCAB)  # also an alias of CD19
    assert (found.token.tolist(), found.status.tolist()) == ([2], ["symbol"])


def test_repeated_names() -> None:
    with pytest.raises(InputError, match=r"adata.var_names has 1 names .* such as 'CD4'") as caught:
        match(["CD4", "CD19", "CD4"], VOCAB)
    assert "Sum or drop" in caught.value.fix
    assert "make_unique" not in caught.value.fix


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["ENSMUSG00000000001.4", "ENSMUSG00000000003"], "mouse Ensembl"),
        (["Actb", "Cd3e", "Il2", "Gm123", "H2-Ab1", "Hba-a1"], "mouse symbols"),
        (["ENSG00000999999", "ENSG00000999998"], "none that the model knows"),
        (["ENST00000456328.2", "ENST00000450305"], "transcripts"),
        (["ENSDARG00000000001", "ENSDARG00000000002"], "another species"),
        (["7157", "672", "675.0"], "Entrez"),
        ([0, 1, 2], "Entrez"),
        (["AAACATACAACCAC-1", "AAACATTGAGCTAC-1"], "transposed"),
        (["donor1_AAACATACAACCACGT", "donor1_AAACATTGAGCTACGT"], "transposed"),
        (["GRCh38_CD4", "GRCh38_CD19"], "genome"),
        (["gene one", "gene two"], "neither"),
        ([], "no names"),
    ],
)
def test_no_match_says_what_the_names_look_like(names: list, message: str) -> None:
    with pytest.raises(InputError, match=f"in var.*{message}") as caught:
        match(names, VOCAB, where="var")
    assert "ENSG00000000000" in caught.value.fix
    assert "CD4" in caught.value.fix
    if names:
        assert repr(str(names[0])) in caught.value.what


def test_a_hit_by_chance_is_no_match() -> None:
    ids = [f"ENSG{g:011d}" for g in range(500)]
    blank = [""] * 500
    vocab = Vocabulary(ids, ["CD4", *blank[1:]], np.ones(500), blank)
    with pytest.raises(InputError, match=r"^1 of 300 names.*mouse"):
        match(["CD4", *(f"Gene{i}" for i in range(299))], vocab)


def test_human_symbols_are_not_called_mouse() -> None:
    names = ["C1orf112", "MT-CO1", "HLA-DRA", "AC012345.1", "LINC01409"]
    with pytest.raises(InputError, match="neither"):
        match(names, VOCAB)
