"""Whole runs, beside runs that were cut, and what refuses to run."""

from __future__ import annotations

import csv
import errno
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData
from lightning_fabric import Fabric

from genemamba import models
from genemamba.datasets import Corpus
from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.train import engine
from genemamba.train.data import split
from genemamba.train.recipe import Recipe
from genemamba.train.start import new_model

NewRecipe = Callable[..., Recipe]
NewCorpus = Callable[[AnnData, Path], Corpus]
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
    recipe = new_recipe(  # from drawn weights: gene vectors of the corpus know too much at once
        objectives={"contrast": 0.2},  # beside it a model this small learns no genes
        optimiser={"steps": 120},
        run={"check_every": 60},
        data={"held_out": ["cells/b"]},
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
    assert said["cells_seen"] == int(metrics(out)[-1]["cells"]) > 120 * 12
    assert said["corpus"]["files"] == {"cells.h5ad": 700}
    assert json.loads((out / "run.json").read_text())["finished"]
    assert not (out / "state.pt").exists()
    assert list((out / "tensorboard").iterdir())
    assert same(model, engine.pretrain(corpus, recipe, out, **ON_CPU))  # done already
    trained, gene = split(corpus, recipe).training, np.arange(corpus.vocab.n_genes)
    assert model.sketch is not None and model.sketch.n_cells == len(trained)
    others = np.setdiff1d(np.arange(len(corpus)), trained)
    looked_up, found = model.sketch.look_up(corpus.rows(trained), gene)
    assert found == looked_up > 0.9 * len(trained)
    assert model.sketch.look_up(corpus.rows(others), gene).found == 0


@pytest.mark.parametrize("kept", [{}, {"start_share": 0.25}])
def test_a_resumed_run_is_the_unbroken_run(
    corpus: Corpus, new_recipe: NewRecipe, tmp_path: Path, kept: dict[str, float]
) -> None:
    recipe = new_recipe(
        optimiser={"steps": 7} | kept, data={"micro_batches": 2}, run={"save_every": 2}
    )
    whole = engine.pretrain(corpus, recipe, tmp_path / "whole", **ON_CPU)
    for _ in range(8):
        part = engine.pretrain(corpus, recipe, tmp_path / "parts", stop_after=0, **ON_CPU)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    assert same(whole, part)


def test_with_profiles_labels_and_panels_it_is_the_same_again_and_resumed(
    labelled: Corpus, new_recipe: NewRecipe, tmp_path: Path
) -> None:
    """Down to the bytes that are stored."""
    recipe = new_recipe(
        objectives={"labels": 0.5},
        data={"pairs": 0.4, "panels": 0.5, "capture": 0.7},
        optimiser={"steps": 8, "start_share": 0.25},
    )
    for name in ("one", "two"):
        engine.pretrain(labelled, recipe, tmp_path / name, **ON_CPU)
    for _ in range(9):
        engine.pretrain(labelled, recipe, tmp_path / "parts", stop_after=0, **ON_CPU)
    one, two, parts = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "parts")
    )
    assert one == two == parts
    said = models.load(tmp_path / "one").provenance
    assert (said["cells"], said["profiles"]) == (700, 3)


@pytest.mark.parametrize("name", ["norm_f.weight", "embeddings.weight"])
def test_a_state_that_lacks_a_weight_is_refused(
    name: str, corpus: Corpus, new_recipe: NewRecipe, tmp_path: Path, monkeypatch
) -> None:
    real = engine.load_state

    def lacking(file: Path, **how: bool) -> dict[str, Any]:
        state = real(file, **how)
        state["task"].pop(f"model.{name}", None)
        return state

    recipe = new_recipe(model={"tie_embeddings": False})
    monkeypatch.setattr(engine, "load_state", lacking)
    with pytest.raises(RuntimeError, match=rf"Missing key.*{name}"):
        engine.pretrain(corpus, recipe, tmp_path / "out", stop_after=0.0, **ON_CPU)


def test_a_share_of_the_start_is_kept(
    corpus: Corpus, new_recipe: NewRecipe, tmp_path: Path
) -> None:
    kept = {}
    for share in (0.0, 0.25):
        recipe = new_recipe(optimiser={"steps": 3, "start_share": share})
        kept[share] = engine.pretrain(corpus, recipe, tmp_path / str(share), **ON_CPU).state_dict()
    first = new_model(corpus, recipe, split(corpus, recipe).training).state_dict()
    for name, weight in kept[0.25].items():
        expected = torch.lerp(kept[0.0][name], first[name], 0.25)
        torch.testing.assert_close(weight, expected, rtol=2e-3, atol=1e-4)  # float16 on disk


SCRIPT = """
import json, sys
from pathlib import Path
from genemamba.datasets import Corpus
from genemamba.errors import InputError
from genemamba.train import engine
from genemamba.train.recipe import Recipe
corpus, recipe, out, options = sys.argv[1:]
recipe = Recipe.from_dict(json.loads(recipe))
engine.pretrain(Corpus(corpus), recipe, Path(out), accelerator="cpu", **json.loads(options))
"""


def elsewhere(corpus: Corpus, recipe: Recipe, out: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start a run in a process of its own."""
    script = out.parent / "script.py"
    script.write_text(SCRIPT)
    given = [str(corpus.folder), json.dumps(recipe.to_dict()), str(out), json.dumps(options)]
    return subprocess.Popen([sys.executable, str(script), *given])


def test_a_killed_run_goes_on_with_the_same_losses(
    corpus: Corpus, new_recipe: NewRecipe, tmp_path: Path
) -> None:
    recipe = new_recipe(optimiser={"steps": 80}, run={"save_every": 7, "check_every": 20})
    whole = engine.pretrain(corpus, recipe, tmp_path / "whole", **ON_CPU)
    killed = elsewhere(corpus, recipe, tmp_path / "killed")
    state = tmp_path / "killed" / "state.pt"
    while not state.exists() and killed.poll() is None:
        time.sleep(0.002)
    time.sleep(0.05)
    killed.kill()
    killed.wait()
    assert state.exists()
    assert json.loads((tmp_path / "killed" / "run.json").read_text())["step"] < 80
    resumed = engine.pretrain(corpus, recipe, tmp_path / "killed", **ON_CPU)
    assert losses(tmp_path / "whole") == losses(tmp_path / "killed")
    assert same(whole, resumed)


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_two_processes_are_as_good_as_one(
    corpus: Corpus, new_recipe: NewRecipe, tmp_path: Path, strategy: str
) -> None:
    """Two processes over gloo, the same global batch."""
    recipe = new_recipe(
        optimiser={"steps": 10, "learning_rate": 1e-3}, data={"micro_batches": 4},
        run={"check_every": 5, "precision": "32-true"},
    )  # fmt: skip
    engine.pretrain(corpus, recipe, tmp_path / "one", **ON_CPU)
    two = elsewhere(corpus, recipe, tmp_path / "two", devices=2, strategy=strategy)
    assert two.wait(timeout=120) == 0
    for one, other in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        for name, value in one.items():
            if not name.endswith("found"):
                assert float(other[name]) == pytest.approx(float(value), rel=1e-3), name
    assert json.loads((tmp_path / "two" / "run.json").read_text())["processes"] == 2
    assert models.load(tmp_path / "two").provenance["steps"] == 10


def test_users_read_nothing_of_what_lightning_tells(new_recipe: NewRecipe) -> None:
    log = logging.getLogger("lightning_fabric.utilities.rank_zero")
    log.setLevel(logging.INFO)
    told: list[str] = []

    def keep(entry: logging.LogRecord) -> bool:
        told.append(entry.getMessage())
        return False

    log.addFilter(keep)
    try:
        engine._fabric(new_recipe(run={"precision": "bf16-mixed"}), 1, "auto", "cpu")
    finally:
        log.removeFilter(keep)
    assert not told


def test_a_full_disk_leaves_the_last_state(
    corpus: Corpus, new_recipe: NewRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = new_recipe(), tmp_path / "out"
    engine.pretrain(corpus, recipe, out, stop_after=0, **ON_CPU)
    before = (out / "state.pt").read_bytes()

    def full(fabric: Fabric, path: Path, state: object) -> None:
        path.write_bytes(b"the beginning")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(InputError, match="disk is full"):
        patch.setattr(Fabric, "save", full)
        engine.pretrain(corpus, recipe, out, **ON_CPU)
    assert (out / "state.pt").read_bytes() == before
    assert not list(out.glob("*.new"))
    resumed = engine.pretrain(corpus, recipe, out, **ON_CPU)
    assert same(resumed, engine.pretrain(corpus, recipe, tmp_path / "whole", **ON_CPU))


def test_another_run_is_refused(
    corpus: Corpus, new_recipe: NewRecipe, new_corpus: NewCorpus, pbmc: AnnData, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    engine.pretrain(corpus, new_recipe(), out, stop_after=0, **ON_CPU)
    with pytest.raises(InputError, match="data length was 48, is 40"):
        engine.pretrain(corpus, new_recipe(data={"length": 40}), out, **ON_CPU)
    other = new_corpus(pbmc[:500].copy(), tmp_path / "other")
    with pytest.raises(InputError, match="another corpus"):
        engine.pretrain(other, new_recipe(), out, **ON_CPU)
    (out / "state.pt").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="damaged"):
        engine.pretrain(corpus, new_recipe(), out, **ON_CPU)


def test_a_run_starts_from_a_checkpoint_of_the_same_genes(
    corpus: Corpus, new_recipe: NewRecipe, new_corpus: NewCorpus, pbmc: AnnData, tmp_path: Path
) -> None:
    first = engine.pretrain(corpus, new_recipe(), tmp_path / "first", **ON_CPU)
    folder = str(tmp_path / "first")
    start = {"start": folder}
    recipe = Recipe.from_dict(
        new_recipe(optimiser={"learning_rate": 1e-9}).to_dict() | {"model": start}
    )
    second = engine.pretrain(corpus, recipe, tmp_path / "second", **ON_CPU)
    assert second.config == first.config
    torch.testing.assert_close(second.embeddings.weight, first.embeddings.weight)
    with pytest.raises(InputError, match=r"d_model is 64, and .* has 32"):
        wider = Recipe.from_dict(recipe.to_dict() | {"model": start | {"d_model": 64}})
        engine.pretrain(corpus, wider, tmp_path / "third", **ON_CPU)
    other = new_corpus(pbmc[:, :600].copy(), tmp_path / "other")
    with pytest.raises(InputError, match=r"765 genes .* 600, of which 600 are shared"):
        engine.pretrain(other, recipe, tmp_path / "third", **ON_CPU)
    assert not (tmp_path / "third").exists()


def test_a_run_that_diverges_stops(corpus: Corpus, new_recipe: NewRecipe, tmp_path: Path) -> None:
    recipe = new_recipe(optimiser={"learning_rate": 1e30, "steps": 20})
    with pytest.raises(FloatingPointError, match="lower"):
        engine.pretrain(corpus, recipe, tmp_path / "out", **ON_CPU)


def test_what_is_not_installed_is_named(
    corpus: Corpus, new_recipe: NewRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(InputError, match="compile = false"):
        patch.setenv("PATH", "")
        recipe = new_recipe(run={"compile": True})
        engine.pretrain(corpus, recipe, tmp_path / "out", **ON_CPU)
    monkeypatch.setattr(engine, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'genemamba\[train\]'"):
        engine.pretrain(corpus, new_recipe(), tmp_path / "out", **ON_CPU)


def test_a_state_is_saved_soon(
    corpus: Corpus, new_recipe: NewRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    real = engine._Run._save

    def spy(run: engine._Run) -> None:
        saved.append(int(run.seen["step"]))
        real(run)

    monkeypatch.setattr(engine._Run, "_save", spy)
    recipe = new_recipe(optimiser={"steps": 12}, run={"save_every": 1000})
    engine.pretrain(corpus, recipe, tmp_path / "out", **ON_CPU)
    assert saved == [1, 10, 12]


@pytest.mark.parametrize(("most", "compiles"), [(1, True), (10**9, False)])
def test_layers_are_compiled_where_it_pays(
    corpus: Corpus, new_recipe: NewRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    most: int, compiles: bool,
) -> None:  # fmt: skip
    done: list[bool] = []
    monkeypatch.setattr(engine, "_MANY", most)
    monkeypatch.setattr(engine.Task, "compile", lambda _: done.append(True))
    engine.pretrain(corpus, new_recipe(run={"compile": True}), tmp_path / "out", **ON_CPU)
    assert done == [True] * compiles
