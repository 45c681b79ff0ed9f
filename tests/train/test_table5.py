from __future__ import annotations

import runpy
from pathlib import Path

import pytest

TABLE5 = Path(__file__).parents[2] / "benchmarks" / "table5.py"


@pytest.mark.parametrize(
    ("n_layers", "d_model"),
    [(24, 512), *(pytest.param(*size, marks=pytest.mark.slow)
                  for size in ((48, 512), (24, 768), (48, 768)))],
)  # fmt: skip
def test_the_paper_s_sizes_take_a_training_step(n_layers: int, d_model: int) -> None:
    script = runpy.run_path(str(TABLE5))
    n, before, after = script["one_step"](n_layers, d_model)
    assert n / 1e6 == pytest.approx(script["PUBLISHED"][n_layers, d_model], abs=0.006)
    assert after < before - 1
