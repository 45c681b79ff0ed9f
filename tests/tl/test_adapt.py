"""A model and cells in, a checkpoint out: resumable, repeatable, never worse by its own measure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData

import genemamba as gm
from genemamba import cli, models
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.network import GeneMamba
from genemamba.train import adapting

ON_CPU: dict[str, Any] = {"device": "cpu", "precision": "float32", "backend": "torch"}


@pytest.fixture
def saved(small_model: GeneMamba, tmp_path: Path) -> Path:
    """A checkpoint to start from."""
    small_model.provenance = {"name": "small"}
    small_model.save_pretrained(tmp_path / "small")
    return tmp_path / "small"


@pytest.fixture(scope="module")
def adapted(
    _pbmc: AnnData, new_model: Callable[..., GeneMamba], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Two libraries, four steps; made once."""
    folder = tmp_path_factory.mktemp("once")
    model = new_model(_pbmc.var_names)
    model.provenance = {"name": "small"}
    model.save_pretrained(folder / "small")
    gm.tl.adapt(
        _pbmc, batch_key="batch", out=folder / "a", steps=4, model=folder / "small", **ON_CPU
    )
    return folder / "a"


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_every_tool_takes_the_checkpoint_and_says_adapted(pbmc: AnnData, adapted: Path) -> None:
    files = {file.name for file in adapted.iterdir()}
    assert files == {"adapted.json", "config.json", "genes.csv", "model.safetensors",
                     "README.md", "sketch.json"}  # fmt: skip
    assert not adapted.with_name("a.partial").exists()
    gm.tl.embed(pbmc, model=adapted)
    record = pbmc.uns["genemamba"]["X_genemamba"]["adapted"]
    assert record["from"].endswith("small")
    assert record["cells"] == 700
    assert record["libraries"].tolist() == ["a", "b"]
    table = gm.metrics.compare(pbmc, "bulk_labels", baselines=[], verbose=False)
    assert table.loc["X_genemamba", "kind"] == "adapted"
    card = (adapted / "README.md").read_text(encoding="utf-8")
    assert "| a | 350 |" in card
    assert "(kept)" in card


def test_it_is_never_worse_than_the_start_by_its_own_measure(adapted: Path) -> None:
    own = models.load(adapted).provenance["adapted"]
    won = {name: scores["predicted"] for name, scores in own["scores"].items()}
    assert list(won) == ["unchanged", "0", "0.25", "0.5", "1"]
    assert won[own["kept"]] >= won["unchanged"]


def test_where_training_does_not_help_the_model_stays(
    pbmc: AnnData, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "by_neighbours", lambda *_: (np.full(9, 0.5), 0.5))
    model = gm.tl.adapt(pbmc, out=tmp_path / "a", steps=1, model=saved, **ON_CPU)
    assert model.provenance["adapted"]["kept"] == "unchanged"
    for name, weight in models.load(saved).state_dict().items():
        assert torch.equal(weight, model.state_dict()[name])


def test_a_gain_has_to_exceed_its_standard_error_and_three_percent() -> None:
    before, noise = np.full(100, 0.1), np.random.default_rng(0).normal(size=100)
    noise -= noise.mean()
    assert adapting.choose({"unchanged": before, "0.5": noise + 0.15}) == "unchanged"
    assert adapting.choose({"unchanged": before, "0.5": noise + 0.3, "1": noise}) == "0.5"
    assert adapting.choose({"unchanged": before, "1": before * 1.02}) == "unchanged"
    assert adapting.choose({"unchanged": before, "1": before * 1.04}) == "1"


def test_a_killed_run_resumes_to_the_same_weights(
    pbmc: AnnData, saved: Path, adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in a step after a saved state, and then between the choice and the end."""
    call = {"batch_key": "batch", "out": tmp_path / "b", "steps": 4, "model": saved, **ON_CPU}
    step, calls = adapting.engine._Run._step, []

    def killed(self: Any, number: int, *rest: Any) -> bool:
        calls.append(number)
        if number == 2:
            self._save()
            raise KeyboardInterrupt
        return step(self, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(adapting.engine._Run, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            gm.tl.adapt(pbmc, **call)
    assert not (tmp_path / "b").exists()
    with monkeypatch.context() as patch:
        patch.setattr(adapting, "mixed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            gm.tl.adapt(pbmc, **call)
    gm.tl.adapt(pbmc, **call)
    assert weights(tmp_path / "b") == weights(adapted)


def test_two_runs_with_one_seed_agree_and_a_second_call_trains_nothing(
    pbmc: AnnData, saved: Path, adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = {"batch_key": "batch", "steps": 4, "model": saved, **ON_CPU}
    gm.tl.adapt(pbmc, out=tmp_path / "b", **call)
    assert weights(tmp_path / "b") == weights(adapted)
    monkeypatch.setattr(adapting.engine, "pretrain", None)
    again = gm.tl.adapt(pbmc, out=adapted, **call)
    assert again.provenance["sha256"] == models.load(adapted).provenance["sha256"]
    with pytest.raises(InputError, match="other cells"):
        gm.tl.adapt(pbmc[:600].copy(), out=adapted, **call)
    with pytest.raises(InputError, match="rng"):
        gm.tl.adapt(pbmc, out=adapted, rng=1, **call)
    with pytest.raises(InputError, match="length"):
        gm.tl.adapt(pbmc, out=adapted, **call | {"steps": 5})


def test_minutes_fix_the_steps_of_a_resumed_run(
    pbmc: AnnData, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = {"out": tmp_path / "a", "minutes": 0.02, "model": saved, **ON_CPU}
    monkeypatch.setattr(adapting, "steps_within", lambda *_: 3)
    with monkeypatch.context() as patch:
        patch.setattr("genemamba.datasets._of_counts.mean_ranking", None)
        with pytest.raises(TypeError):
            gm.tl.adapt(pbmc, **call)
    assert json.loads((tmp_path / "a.partial" / "adapted.json").read_text())["steps"] is None
    with monkeypatch.context() as patch:
        patch.setattr(adapting, "turned_factors", None)
        with pytest.raises(TypeError):
            gm.tl.adapt(pbmc, **call)
    assert json.loads((tmp_path / "a.partial" / "adapted.json").read_text())["steps"] == 3
    monkeypatch.setattr(adapting, "steps_within", lambda *_: 9)
    assert gm.tl.adapt(pbmc, **call).provenance["adapted"]["steps"] == 3


def test_an_adapted_model_is_adapted_again(pbmc: AnnData, adapted: Path, tmp_path: Path) -> None:
    call = {"out": tmp_path / "b", "steps": 1, "model": adapted, **ON_CPU}
    own = gm.tl.adapt(pbmc[:300].copy(), **call).provenance["adapted"]
    assert own["before"] == models.load(adapted).provenance["adapted"]
    assert (tmp_path / "b" / "README.md").read_text().count("## Adapted from") == 2


def test_small_libraries_are_joined(pbmc: AnnData, saved: Path, tmp_path: Path) -> None:
    pbmc.obs["donor"] = np.where(np.arange(700) < 5, "small", pbmc.obs["batch"])
    with pytest.warns(GeneMambaWarning, match="1 of 3 libraries of 'donor' have fewer than 30"):
        model = gm.tl.adapt(
            pbmc, batch_key="donor", out=tmp_path / "a", steps=1, model=saved, **ON_CPU
        )
    assert sum(model.provenance["adapted"]["libraries"].values()) == 700
    assert "small" not in model.provenance["adapted"]["libraries"]


def test_a_model_without_mask_learns_from_contrast_alone(
    pbmc: AnnData, new_model: Callable[..., GeneMamba], tmp_path: Path
) -> None:
    model = new_model(pbmc.var_names, extra=())
    own = gm.tl.adapt(pbmc, out=tmp_path / "a", steps=1, model=model, **ON_CPU)
    assert "masked" not in own.provenance["adapted"]["scores"]["unchanged"]


@pytest.mark.parametrize(
    ("n", "options", "said"),
    [
        (150, {}, "150 cells; adapting a model needs 200"),
        (700, {"minutes": 0}, "not a number above 0"),
        (700, {"minutes": "5"}, "not a number above 0"),
        (700, {"minutes": 1e-6}, "too short for one training step"),
        (700, {"steps": 0}, "steps=0"),
        (700, {"batch_key": "donor"}, "donor"),
        (700, {"rng": -1}, "rng=-1"),
    ],
)
def test_bad_input_leaves_nothing_behind(
    n: int, options: dict[str, Any], said: str, pbmc: AnnData, saved: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        gm.tl.adapt(pbmc[:n].copy(), out=tmp_path / "a", model=saved, **options, **ON_CPU)
    assert {file.name for file in tmp_path.iterdir()} == {"small"}


def test_out_has_to_be_free(
    pbmc: AnnData, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="is not an adapted model"):
        gm.tl.adapt(pbmc, out=saved, steps=1, model=saved, **ON_CPU)
    with pytest.raises(InputError, match="is a file"):
        gm.tl.adapt(pbmc, out=saved / "genes.csv" / "a", steps=1, model=saved, **ON_CPU)
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: full)
    with pytest.raises(InputError, match="GB left"):
        gm.tl.adapt(pbmc, out=tmp_path / "a", steps=1, model=saved, **ON_CPU)
    assert not (tmp_path / "a.partial").exists()


def test_the_command_does_what_the_function_does(
    pbmc: AnnData, saved: Path, adapted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pbmc.write_h5ad(tmp_path / "cells.h5ad")
    words = ["adapt", tmp_path / "cells.h5ad", "--out", tmp_path / "b", "--batch-key", "batch"]
    words += ["--steps", 4, "--model", saved, "--precision", "float32", "--device", "cpu"]
    assert cli.main([str(word) for word in [*words, "--backend", "torch"]]) == 0
    assert weights(tmp_path / "b") == weights(adapted)
    assert "b: " in capsys.readouterr().out


def test_neighbours_are_scored_as_by_hand() -> None:
    rng = np.random.default_rng(0)
    vectors, expression = list(rng.normal(size=(2, 40, 3))), list(rng.normal(size=(2, 40, 6)))
    library, k = np.repeat([0, 1], 20), 5
    predicted, shared = [], []
    for own in (range(20), range(20, 40)):
        for i in own:
            near = [sorted(own, key=lambda j, x=x: np.linalg.norm(x[i] - x[j]))[1 : k + 1]
                    for x in vectors]  # fmt: skip
            shared.append(len({*near[0]} & {*near[1]}) / k)
            for seen, other in zip(near, expression[::-1], strict=True):
                centred = other - other[list(own)].mean(axis=0)
                predicted.append(np.corrcoef(centred[i], centred[seen].mean(axis=0))[0, 1])
    found = adapting.by_neighbours(vectors, expression, library)
    assert found[0].mean() == pytest.approx(np.mean(predicted))
    assert found[1] == pytest.approx(np.mean(shared))
    assert adapting.by_neighbours([vectors[0]] * 2, expression, library)[1] == 1
