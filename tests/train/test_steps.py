from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from genemamba.network import GeneMamba
from genemamba.train.steps import decay_groups, warm_cosine, warm_linear


def test_only_matrices_decay(small_model: GeneMamba) -> None:
    named = [*small_model.named_parameters(), *nn.Linear(32, 32).named_parameters()]
    decayed, kept = decay_groups(named, weight_decay=0.01)
    assert decayed["weight_decay"] > 0 == kept["weight_decay"]
    name_of = {id(p): name for name, p in named}
    kept_names = {name_of[id(p)].rsplit(".", 1)[-1] for p in kept["params"]}
    assert {"A_log", "D", "dt_bias", "bias"} <= kept_names
    for parameter in decayed["params"]:
        name = name_of[id(parameter)]
        assert name.endswith("weight") and "norm" not in name and "conv1d" not in name


@pytest.mark.parametrize("schedule", [warm_cosine, warm_linear])
def test_the_rate_rises_and_falls(schedule) -> None:
    rates = np.array([schedule(step, 100, 0.1) for step in range(100)])
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert (np.diff(rates[10:]) < 0).all()
    assert 0 < rates[-1] < 0.02
    assert rates[55] == pytest.approx(0.5)
