from __future__ import annotations

import numpy as np
import pytest

from genemamba.errors import CheckpointError
from genemamba.tokens import FIRST_GENE, PAD, UNK, Vocabulary

IDS = ["ENSG00000000003", "ENSG00000000005", "ENSG00000000419", "ENSG00000000457"]


def make(**changes) -> Vocabulary:
    table = {
        "ensembl_id": IDS,
        "symbol": ["TSPAN6", "NA", "", "nan"],
        "median": [1.1, 0.1 + 0.2, 1e-9, 123456789.123456789],
        "alias": ["T245|TM4SF6", "", "NA,x", 'quoted "name"'],
        "extra": ("[CLS]", "[MASK]"),
    }
    return Vocabulary(**(table | changes))


def test_tokens_follow_the_genes() -> None:
    vocab = make()
    assert (vocab.n_genes, len(vocab)) == (4, 8)
    assert (vocab.special("[UNK]"), vocab.special("[PAD]")) == (UNK, PAD) == (0, 1)
    assert vocab.special("[CLS]") == FIRST_GENE + 4
    assert vocab.special("[MASK]") == FIRST_GENE + 5
    assert vocab.has_special("[MASK]")
    assert not make(extra=()).has_special("[MASK]")
    with pytest.raises(CheckpointError, match="no special token"):
        make(extra=()).special("[MASK]")


def test_csv_round_trip_is_exact(tmp_path) -> None:
    vocab = make()
    vocab.to_csv(tmp_path / "genes.csv")
    again = Vocabulary.from_csv(tmp_path / "genes.csv", extra=vocab.extra)
    for name in ("ensembl_id", "symbol", "median", "alias"):
        np.testing.assert_array_equal(getattr(again, name), getattr(vocab, name))
    assert again.sha256 == vocab.sha256
    assert again.symbol.tolist() == ["TSPAN6", "NA", "", "nan"]


def test_hash_follows_what_decides_tokens() -> None:
    same = make(symbol=["", "", "", ""], alias=["", "", "", ""])
    assert same.sha256 == make().sha256
    others = [
        make(extra=()),
        make(median=[1.1, 0.3, 1e-9, 1.0]),
        make(ensembl_id=[*IDS[:3], "ENSG00000000460"]),
    ]
    assert len({make().sha256, *(other.sha256 for other in others)}) == 4


def test_names_id_before_symbol_before_alias() -> None:
    vocab = make(
        symbol=["A", "B", "B", "D"],
        alias=["X|Y", "A|Y", "ENSG00000000003", "D|Z"],
    )
    names = vocab.name_to_gene
    assert names["ENSG00000000003"] == 0  # though an alias of gene 2
    assert names["A"] == 0  # though an alias of gene 1
    assert names["B"] == -1  # symbol of two genes
    assert names["Y"] == -1  # alias of two genes
    assert (names["X"], names["D"], names["Z"]) == (0, 3, 3)
    assert "" not in names


def test_the_table_cannot_change_under_its_hash() -> None:
    median = np.ones(4)
    vocab = make(median=median)
    with pytest.raises(ValueError, match="read-only"):
        vocab.median[0] = 2
    median[0] = 2  # the caller's own array is left alone
    assert vocab.median[0] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ensembl_id": [IDS[0], IDS[2], IDS[1], IDS[3]]}, r"row 2 .*ascending"),
        ({"ensembl_id": [IDS[0], IDS[0], IDS[2], IDS[3]]}, r"row 1 .*repeated"),
        ({"ensembl_id": ["", *IDS[1:]]}, "row 0"),
        ({"median": [1, 2, 0, 3]}, r"row 2 \('ENSG00000000419'\) has a median"),
        ({"median": [1, np.nan, 0, 3]}, "row 1"),
        ({"median": [np.inf, 1, 1, 3]}, "row 0"),
        ({"median": [1.0]}, "median has shape"),
        ({"extra": ("[PAD]",)}, "repeated"),
        ({"extra": ("[CLS]", "[CLS]")}, "repeated"),
        ({"ensembl_id": [], "symbol": [], "median": [], "alias": []}, "no genes"),
    ],
)
def test_contradictions_are_named(changes: dict, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        make(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("ensembl_id,symbol,median,alias\n", "no genes"),
        ("gene,symbol,median,alias\nE1,A,1.0,\n", "line 1: columns"),
        ("ensembl_id,symbol,median,alias\nE1,A,1.0,\nE2,B,2.", "line 3: 3 columns"),
        ("ensembl_id,symbol,median,alias\nE1,A,one,\n", "line 2, column median: 'one'"),
        ("ensembl_id,symbol,median,alias\nE1,A,nan,\n", r"row 0 \('E1'\) has a median"),
        ('ensembl_id,symbol,median,alias\nE1,"A,1.0,\n', "cannot be read"),
    ],
)
def test_damaged_files_are_refused(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "genes.csv"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=message) as caught:
        Vocabulary.from_csv(path)
    assert "genes.csv" in str(caught.value)


def test_files_that_are_no_text(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        Vocabulary.from_csv(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(CheckpointError, match="cannot be read"):
        Vocabulary.from_csv(tmp_path / "binary.csv")
