"""Whole runs, beside runs that were cut, and what refuses to run."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genemamba import models
from genemamba.datasets import Corpus
from genemamba.model import GeneMamba
from genemamba.train import engine
from genemamba.train.recipe import Recipe

NewRecipe = Callable[..., Recipe]
ON_CPU: dict[str, Any] = {"accelerator": "cpu"}


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def losses(folder: Path) -> list[dict[str, str]]:
    """Everything but what the clock says."""
    timed = ("hours", "cells_per_second")
    return [{k: v for k, v in row.items() if k not in timed} for row in metrics(folder)]


def same(one: GeneMamba, two: GeneMamba) -> bool:
    other = two.state_dict()
    return all(torch.equal(weight, other[name]) for name, weight in one.state_dict().items())


def test_it_learns_and_leaves_a_checkpoint(
    corpus: Corpus, new_recipe: NewRecipe, tmp_path: Path
) -> None:
    recipe = new_recipe(
        optimiser={"steps": 60}, run={"check_every": 30}, data={"held_out": ["cells/b"]}
    )
    out = tmp_path / "out"
    model = engine.pretrain(corpus, recipe, out, **ON_CPU)
    first, last = (row for row in metrics(out) if row["study_masked"])
    for part in ("study", "share"):
        assert float(last[f"{part}_masked"]) < float(first[f"{part}_masked"]) < 6.7  # ln 768
        assert float(last[f"{part}_contrast"]) < float(first[f"{part}_contrast"])
        assert 1 / 32 < float(last[f"{part}_found"]) <= 1
    assert same(model, models.load(out))
    said = model.provenance
    assert Recipe.from_dict(said["recipe"]) == recipe
    assert said["cells_seen"] == int(metrics(out)[-1]["cells"]) > 60 * 12
    assert said["corpus"]["files"] == {"cells.h5ad": 700}
    assert json.loads((out / "run.json").read_text())["finished"]
    assert not (out / "state.pt").exists()
    assert list((out / "tensorboard").iterdir())
    assert same(model, engine.pretrain(corpus, recipe, out, **ON_CPU))  # done already


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_resumed_run_is_the_unbroken_run(
    corpus: Corpus, new_recipe: NewRecipe, tmp_path: Path, ema: float
) -> None:
    recipe = new_recipe(
        optimiser={"steps": 7, "ema": ema}, data={"micro_batches": 2}, run={"save_every": 2}
    )
    whole = engine.pretrain(corpus, recipe, tmp_path / "whole", **ON_CPU)
    for _ in range(8):
        part = engine.pretrain(corpus, recipe, tmp_path / "parts", stop_after=0, **ON_CPU)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    assert same(whole, part)
