from __future__ import annotations

import math

import numpy as np
import pytest

from genemamba.maps import transfer
from genemamba.maps.transfer import averaged, most_voted, voted

CODES = np.array([[0, 1, 1, 2], [2, -1, -1, 2], [-1, -1, -1, -1], [1, 0, 0, -1]])
DISTANCE = np.array([[1, 2, 2, 3], [1, 1, 2, 5], [1, 2, 3, 4], [0, 0, 0, 0]], dtype=np.float32)


def plainly(codes: np.ndarray, distance: np.ndarray, n_values: int) -> list[float]:
    """Count the votes of one cell."""
    mean = sum(distance) / len(distance)
    near = [math.exp(-5 * (d / mean) ** 2) if mean else 1.0 for d in distance]
    heard = [w if code >= 0 else 0 for w, code in zip(near, codes, strict=True)]
    votes = [max(0.1 * sum(heard) / len(heard), 1e-30)] * n_values
    for w, code in zip(near, codes, strict=True):
        if code >= 0:
            votes[code] += w
    return [vote / sum(votes) for vote in votes]


def test_votes_are_those_of_a_plain_loop() -> None:
    expected = [plainly(c, d.tolist(), 3) for c, d in zip(CODES, DISTANCE, strict=True)]
    shares = voted(CODES, DISTANCE, 3)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, expected, rtol=1e-6)
    assert (shares > 0).all()
    np.testing.assert_allclose(shares[2], 1 / 3)  # nobody has a vote


@pytest.mark.parametrize("block", [1, 3, 4096])
def test_the_winner_and_its_share(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_BLOCK", block)
    best, share = most_voted(CODES, DISTANCE, 3)
    assert best.tolist() == [0, 2, -1, 0]
    shares = voted(CODES, DISTANCE, 3, advance=0)
    np.testing.assert_array_equal(share, [*shares.max(axis=1)[:2], np.nan, shares[3, 0]])
    for cell in (0, 3):
        alone = most_voted(CODES[[cell]], DISTANCE[[cell]], 3)
        assert (alone[0][0], alone[1][0]) == (best[cell], share[cell])


def test_a_column_without_values() -> None:
    best, share = most_voted(np.full((3, 4), -1), np.ones((3, 4), np.float32), 0)
    assert best.tolist() == [-1] * 3
    assert np.isnan(share).all()


def test_numbers_are_weighted_means() -> None:
    values = np.array([[1, 2, 3, 4], [np.nan, 5, np.nan, 7], [np.nan] * 4, [1, 2, 3, np.inf]])
    found = averaged(values, DISTANCE)
    for cell, row in enumerate(values):
        mean = DISTANCE[cell].mean()
        near = [math.exp(-5 * (d / mean) ** 2) if mean else 1.0 for d in DISTANCE[cell]]
        pairs = [(w, v) for w, v in zip(near, row, strict=True) if np.isfinite(v)]
        total = sum(w for w, _ in pairs)
        expected = sum(w * v for w, v in pairs) / total if pairs else np.nan
        np.testing.assert_allclose(found[cell], expected, rtol=1e-6)
