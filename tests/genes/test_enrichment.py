from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import fisher_exact, hypergeom

from genemamba.errors import InputError
from genemamba.genes.enrichment import hypergeometric, membership, read_gmt


def test_reads_gmt_plain_and_gzipped(tmp_path: Path) -> None:
    text = "one\tabout it\tA\tB\t\n\ntwo\t\tC\r\n"
    (tmp_path / "a.gmt").write_text(text)
    (tmp_path / "a.gmt.gz").write_bytes(gzip.compress(text.encode()))
    expected = {"one": ["A", "B"], "two": ["C"]}
    assert read_gmt(tmp_path / "a.gmt") == read_gmt(tmp_path / "a.gmt.gz") == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"one\tabout it\n", "line 1 has no gene"),
        (b"one\t\tA\none\t\tB\n", "line 2 repeats the name 'one'"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.gmt").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_gmt(tmp_path / "a.gmt")


def test_a_file_that_is_not_there_or_not_gzipped(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        read_gmt(tmp_path / "a.gmt")
    (tmp_path / "a.gmt.gz").write_text("one\t\tA\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_gmt(tmp_path / "a.gmt.gz")


def test_membership_counts_a_gene_once_and_knows_only_the_background() -> None:
    found = membership({"x": ["A", "A", "Z"], "empty": ["Z"], "y": ["C", "B"]}, ["A", "B", "C"])
    assert found.toarray().tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 1]]
    assert membership({}, ["A"]).shape == (0, 1)


def test_p_values_are_those_of_fisher_and_fdr_is_over_all() -> None:
    rng = np.random.default_rng(0)
    n = 60
    modules, sets = rng.random((4, n)) < 0.3, rng.random((6, n)) < 0.2
    overlap = (modules[:, None] & sets[None]).sum(axis=2)
    p, fdr = hypergeometric(overlap, modules.sum(1), sets.sum(1), n)
    for i in range(4):
        for j in range(6):
            a, b = modules[i], sets[j]
            table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
            assert p[i, j] == pytest.approx(fisher_exact(table, "greater").pvalue)
    flat = np.sort(p.ravel())
    slow = [min(flat[k] * p.size / (k + 1) for k in range(i, p.size)) for i in range(p.size)]
    np.testing.assert_allclose(np.sort(fdr.ravel()), np.sort(np.minimum(slow, 1)))
    none = hypergeometric(np.array([[0]]), np.array([5]), np.array([5]), n)[0]
    assert none.item() == 1 == hypergeom.sf(-1, n, 5, 5)
