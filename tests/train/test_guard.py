from __future__ import annotations

import numpy as np
import pytest

from genemamba.train.guard import PATIENCE, Guard


def learnt(n: int = 100) -> Guard:
    guard = Guard(warm=10)
    for loss in np.random.default_rng(0).normal(5.0, 0.2, n):
        assert not guard.refuses(float(loss), 1.0)
    return guard


def test_it_knows_mean_and_spread_of_the_losses() -> None:
    guard = learnt(1000)
    assert guard.mean == pytest.approx(5.0, abs=0.1)
    assert guard.variance**0.5 == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize(
    ("loss", "norm", "said"),
    [
        (9.0, 1.0, "the loss is 9, and was 5.012 ± 0.2"),
        (5.0, float("inf"), "norm of the gradient inf"),
        (float("nan"), 1.0, "the loss is nan"),
    ],
)
def test_a_leap_is_refused_and_not_learnt_from(loss: float, norm: float, said: str) -> None:
    guard = learnt()
    before = guard.mean
    assert said in guard.refuses(loss, norm)
    assert (guard.mean, guard.skipped) == (before, 1)
    assert not guard.refuses(5.2, 1.0)
    for _ in range(PATIENCE - 1):
        guard.refuses(loss, norm)
    with pytest.raises(FloatingPointError, match="learning_rate"):
        guard.refuses(loss, norm)


def test_before_the_end_of_warm_up_losses_may_leap() -> None:
    assert not learnt(15).refuses(9.0, 1.0)


def test_a_resumed_guard_is_the_same() -> None:
    guard, other = learnt(), Guard(warm=10)
    other.load_state_dict(guard.state_dict())
    assert other.refuses(9.0, 1.0) == guard.refuses(9.0, 1.0) != ""
