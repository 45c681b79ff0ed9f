from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genemamba.errors import CheckpointError
from genemamba.tokens import MeanRanking, Ranked

CELLS = [[2, 3, 4], [3, 2], [5], []]


def ranked(cells: list[list[int]] = CELLS) -> Ranked:
    indptr = np.append(0, np.cumsum([len(c) for c in cells])).astype(np.int64)
    tokens = np.array([t for cell in cells for t in cell], dtype=np.int32)
    return Ranked(tokens, indptr, np.ones(len(cells)), np.ones(len(cells)))


def test_it_is_the_mean_of_the_cells() -> None:
    ranking = MeanRanking.of(ranked(), 5)
    assert ranking.n_cells == 4
    np.testing.assert_array_equal(ranking.cells, [2, 2, 1, 1, 0])
    np.testing.assert_allclose(ranking.mean[:4], [(1 / 6 + 3 / 4) / 2, 3 / 8, 5 / 6, 1 / 2])
    np.testing.assert_allclose(ranking.sd[:4], [7 / 24, 1 / 8, 0, 0], atol=1e-12)
    assert np.isnan(ranking.mean[4])


def test_a_gene_that_is_not_expressed_stands_at_the_end() -> None:
    ranking = MeanRanking.of(ranked(), 5)
    np.testing.assert_array_equal(ranking.order, [3, 2, 5, 4])  # and 6, never seen, nowhere


def test_scores_are_frequency_times_a_normal_density() -> None:
    ranking = MeanRanking.of(ranked(), 5)
    scores = ranking.scores(np.array([0.1, 0.9]))
    assert scores.shape == (2, 5)
    assert (scores[:, 4] == -np.inf).all()
    expected = np.log(2) - np.log(1 / 8) - ((0.1 - 3 / 8) * 8) ** 2 / 2
    np.testing.assert_allclose(scores[0, 1], expected, rtol=1e-5)


def test_round_trip(tmp_path: Path) -> None:
    ranking = MeanRanking.of(ranked(), 5)
    ranking.to_csv(tmp_path / "r.csv")
    read = MeanRanking.from_csv(tmp_path / "r.csv", 5)
    assert read.n_cells == 4
    np.testing.assert_array_equal(read.cells, ranking.cells)
    np.testing.assert_allclose(read.mean, ranking.mean, atol=1e-4)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("cells,mean", "mean,cells"),
        (",4\n", ",0\n"),
        ("2,", "x,"),
        ("2,", "9,"),
        ("2,0.", "2,7."),
        ("2,", "2,1,"),
        ("0,nan,nan\n", ""),
    ],
)
def test_damage_is_found(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "r.csv"
    MeanRanking.of(ranked(), 5).to_csv(file)
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    with pytest.raises(CheckpointError, match="mean ranking is damaged"):
        MeanRanking.from_csv(file, 5)


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    MeanRanking.of(ranked(), 5).to_csv(tmp_path / "r.csv")
    with pytest.raises(CheckpointError, match="5 genes, the vocabulary 6"):
        MeanRanking.from_csv(tmp_path / "r.csv", 6)
