"""Which code reads cells while a model is tuned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from genemamba.network import kernels
from genemamba.network.mamba2 import mix_plainly
from genemamba.network.runtime import Runtime
from genemamba.tokens import Ranked
from genemamba.train.finetune import FineTuneRecipe, finetune

RECIPE = FineTuneRecipe(epochs=1, head_epochs=1, cells=8, length=16)


@pytest.fixture
def cells() -> tuple[Ranked, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = [rng.permutation(60)[:12] + 2 for _ in range(24)]
    ranked = Ranked(np.concatenate(rows).astype(np.int32), np.arange(25) * 12, *np.ones((2, 24)))
    return ranked, np.arange(24) % 2


@pytest.mark.parametrize("tune", ["all", "lora"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_kernels_with_gradients_are_taken(
    cells: Any, new_model: Any, tune: str, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU they are the fast way; here the plain code stands in for them."""
    calls = []

    def mix(weights: Any, xbc: torch.Tensor, dt: torch.Tensor, segment: Any) -> torch.Tensor:
        calls.append(xbc.requires_grad)
        return mix_plainly(weights, xbc, dt, segment)

    monkeypatch.setattr(kernels, "mix", mix)
    model = new_model([f"g{i}" for i in range(60)])
    recipe = FineTuneRecipe(**{**vars(RECIPE), "tune": tune})
    runtime = Runtime("cpu", precision, "cuda")
    tuned = finetune(model, *cells, ["a", "b"], recipe=recipe, runtime=runtime)
    assert True in calls and False in calls  # steps and judging
    assert tuned.model.body.backend == "torch" == model.backend
    plain = finetune(model, *cells, ["a", "b"], recipe=recipe, runtime=Runtime("cpu", precision))
    tolerance = {"float32": 1e-4, "bfloat16": 0.1}[precision]
    np.testing.assert_allclose(tuned.validation_logits, plain.validation_logits, atol=tolerance)
