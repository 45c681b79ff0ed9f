from __future__ import annotations

import tracemalloc

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
    assert found.token.tolist() == [3, 2, -1, -1, 7, 6, 3, -1, -1]
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
        "other": 0,
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
def test_of_several_columns_of_a_gene_the_best_has_its_status(
    names: list[str], winner: int
) -> None:
    found = match(names, VOCAB)
    assert set(found.token.tolist()) == {3}
    assert np.flatnonzero(found.status != "duplicate").tolist() == [winner]
    assert found.tokens.tolist() == [3]
    assert found.example[0] == names[winner]
    assert f"{len(names) - 1} of {len(names)} columns" in found.added


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("ENSG00000000004.12", "id"),
        ("ENSG00000000004.12_PAR_Y", "id"),
        ("ENSG00000000004_PAR_Y", "id"),
        ("ENSG00000000004.12-PAR-Y", "id"),
        ("ENSGR0000000004.7", "id"),
        ("ENSG00000000004-1", "id"),
        ("ENSG00000000004.12-1", "id"),
        ("ENSG00000000004_CD3E", "id"),
        ("ENSG00000000004.12_CD3E", "id"),
        ("ENSG00000000004_AC0123.4", "id"),
        ("ENSG00000000004-CD3E", "id"),
        ("CD3E_ENSG00000000004", "id"),
        ("CD3E|ENSG00000000004.3", "id"),
        ("GRCh38_ENSG00000000004", "id"),
        ("CD3E-1", "symbol"),
        ("CD3E.1", "symbol"),
        ("CD3E_PAR_Y", "symbol"),
        ("CD3E|916", "symbol"),
        ("ORF9-2", "alias"),
        ("ENSG00000000004-U", "unknown"),
        ("ENSG00000000004_ENSG00000000001", "unknown"),
        ("ENSMUSG00000000004_CD3E", "unknown"),
        ("CD3E-AS1", "unknown"),
        ("CD3E-1-1-1", "unknown"),
        ("N" * 100_000, "unknown"),
    ],
)
def test_what_annotations_and_programs_add_to_a_name(name: str, status: str) -> None:
    found = match(["CD4", name], VOCAB)
    assert found.status[1] == status
    assert found.token[1] == (-1 if status == "unknown" else 7 if "ORF" in name else 6)


def test_a_real_name_is_no_other_with_a_number() -> None:
    vocab = Vocabulary(["ENSG1", "ENSG2"], ["NKX2", "NKX2-1"], [1.0, 2.0], ["", ""])
    assert match(["NKX2", "NKX2-1", "NKX2-1-1"], vocab).token.tolist() == [2, 3, 3]


def test_what_is_no_gene() -> None:
    genes = np.array([False, True, True, False])
    found = match(["CD4", "CD4", "CD19", "CD3E"], VOCAB, genes=genes)
    assert found.status.tolist() == ["other", "symbol", "symbol", "other"]
    assert found.token.tolist() == [-1, 2, 3, -1]
    assert found.median.shape == (4,)


def test_a_symbol_goes_before_an_alias() -> None:
    found = match(["CD4"], VOCAB)  # also an alias of CD19
    assert (found.token.tolist(), found.status.tolist()) == ([2], ["symbol"])


def test_a_repeated_name_is_one_gene() -> None:
    found = match(["CD4", "CD19", "CD4"], VOCAB)
    assert found.token.tolist() == [2, 3, 2]
    assert found.status.tolist() == ["symbol", "symbol", "duplicate"]


def test_a_long_name_takes_no_memory_of_others() -> None:
    ids = [f"ENSG{g:011d}" for g in range(5_000)]
    blank = [""] * 5_000
    vocab = Vocabulary(ids, blank, np.ones(5_000), blank)
    tracemalloc.start()
    match(["N" * 100_000, *ids[1:]], vocab)
    with pytest.raises(InputError, match="…"):  # shown cut
        match(["N" * 100_000] * 3, vocab)
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["ENSMUSG00000000001.4", "ENSMUSG00000000003"], "mouse Ensembl"),
        (["Actb", "Cd3e", "Il2", "Gm123", "H2-Ab1", "Hba-a1"], "mouse symbols"),
        (["ENSG00000999999", "ENSG00000999998"], "none of the model"),
        (["ENST00000456328.2", "ENST00000450305"], "transcripts"),
        (["ENSDARG00000000001", "ENSDARG00000000002"], "another species"),
        (["7157", "672", "675.0"], "Entrez"),
        ([0, 1, 2], "Entrez"),
        (["AAACATACAACCAC-1", "AAACATTGAGCTAC-1"], "transposed"),
        (["donor1_AAACATACAACCACGT", "donor1_AAACATTGAGCTACGT"], "transposed"),
        (["GRCh38_CD4", "GRCh38_CD19"], "genome"),
        (["Cd4_ENSMUSG00000000001", "Cd19_ENSMUSG00000000003.2"], "mouse Ensembl"),
        (["Cd4-1", "Cd19-1"], "mouse symbols"),
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
    with pytest.raises(InputError, match=r"^1 of 300 names.*numbered"):
        match(["CD4", *(f"Gene{i}" for i in range(299))], vocab)


def test_human_symbols_are_not_called_mouse() -> None:
    names = ["C1orf112", "MT-CO1", "HLA-DRA", "AC012345.1", "LINC01409"]
    with pytest.raises(InputError, match="neither"):
        match(names, VOCAB)
