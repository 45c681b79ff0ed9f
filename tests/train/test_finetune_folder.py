from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genemamba
from genemamba.errors import CheckpointError, InputError
from genemamba.network import GeneMamba
from genemamba.train import tuning
from genemamba.train.finetune import FineTuned, finetune
from genemamba.train.label_model import HEAD, LabelModel

from .finetuning import CLASSES, RECIPE, make_cells, make_model, small_run, tune


@pytest.mark.parametrize("part", ["all", "lora", "head"])
def test_a_finished_folder_gives_the_same_result_at_once(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, labels, donors = make_cells(60)
    call = (make_model(), cells, labels, CLASSES)
    settings: dict[str, Any] = {
        "groups": donors, "folder": tmp_path / "f",
        "recipe": replace(RECIPE, tune=part, epochs=1, head_epochs=1),
    }  # fmt: skip
    first = finetune(*call, **settings)
    assert sorted(p.name for p in (tmp_path / "f").iterdir()) == [
        "config.json", "finetuned.json", "genes.csv", "head.json", "head.safetensors",
        "model.safetensors", "validation.npz",
    ]  # fmt: skip
    monkeypatch.setattr(tuning.Tuning, "run", None)  # nothing may be trained
    again = finetune(*call, **settings)
    assert (again.epoch, again.history) == (first.epoch, first.history)
    np.testing.assert_array_equal(again.validation, first.validation)
    np.testing.assert_array_equal(again.validation_logits, first.validation_logits)
    np.testing.assert_array_equal(again.apart_logits, first.apart_logits)
    np.testing.assert_array_equal(again.apart, first.apart)
    np.testing.assert_allclose(first.logits(cells)[first.apart], first.apart_logits, atol=1e-5)
    np.testing.assert_array_equal(again.logits(cells), first.logits(cells))
    assert again.model.classes == CLASSES
    body = GeneMamba.from_pretrained(tmp_path / "f")  # a checkpoint like any other
    assert torch.equal(body.embeddings.weight, first.model.body.embeddings.weight)


SCRIPT = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
import finetuning
from genemamba.network import runtime
from genemamba.train import tuning
runtime.bfloat16_unit = lambda device: ""  # as in the tests
tuning._SAVE_SECONDS = 0.0  # after every step
finetuning.small_run(Path(sys.argv[2]))
"""


def start(folder: Path) -> subprocess.Popen:
    source = str(Path(genemamba.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(folder)],
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
    )


def test_a_killed_run_ends_as_the_unbroken_one(tmp_path: Path) -> None:
    small_run(tmp_path / "whole")
    broken, kills = tmp_path / "broken", 0
    for steps in (2, 12):  # within the head's epochs, and within the body's
        process = start(broken)
        seen, last = 0, None
        while process.poll() is None and seen < steps:
            now = (broken / "state.pt").stat().st_mtime_ns if (broken / "state.pt").exists() else 0
            seen, last = seen + (now != last), now
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills and not (broken / "finetuned.json").exists()
    small_run(broken)
    for name in ("model.safetensors", "head.safetensors", "finetuned.json"):
        assert (broken / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize("part", ["head", "lora"])
def test_the_other_ways_resume_as_well(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, labels, _ = make_cells(60)
    monkeypatch.setattr(tuning, "_SAVE_SECONDS", 0.0)
    recipe = replace(RECIPE, tune=part, epochs=3, head_epochs=4)
    step, left = tuning.Tuning._step, [0]

    def dying(*call: Any) -> float:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return step(*call)

    monkeypatch.setattr(tuning.Tuning, "_step", dying)

    def call(name: str, steps: int) -> FineTuned:
        left[0] = steps
        return finetune(make_model(), cells, labels, CLASSES, recipe=recipe, folder=tmp_path / name)

    whole = call("whole", -1)
    for steps in (3, 2, 5):
        with suppress(KeyboardInterrupt):
            call("broken", steps)
    resumed = call("broken", -1)
    assert resumed.history == whole.history
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_a_folder_of_another_call_is_refused(tmp_path: Path) -> None:
    cells, labels, donors = make_cells(60)
    quick = replace(RECIPE, epochs=1, head_epochs=1)
    model = make_model()

    def call(**other: Any) -> FineTuned:
        given = {"model": model, "ranked": cells, "labels": labels, "classes": CLASSES,
                 "groups": donors, "recipe": quick, "folder": tmp_path / "f"} | other  # fmt: skip
        return finetune(**given)

    call()
    other_cells, _, _ = make_cells(60, seed=5)
    for other in (
        {"labels": np.roll(labels, 1)},
        {"recipe": replace(quick, seed=1)},
        {"model": make_model().reset_parameters(1)},
        {"ranked": other_cells},
        {"groups": None},
        {"classes": ("a", "b", "d")},
    ):
        with pytest.raises(InputError, match="give a new folder"):
            call(**other)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(InputError, match="not empty"):
        call(folder=tmp_path / "mine")


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    cells, labels, _ = make_cells(30)
    (tmp_path / "state.pt").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="damaged"):
        finetune(make_model(), cells, labels, CLASSES, folder=tmp_path)


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    tune(epochs=1, head_epochs=1).model.save(tmp_path)
    LabelModel.load(tmp_path)
    blob = bytearray((tmp_path / HEAD).read_bytes())
    blob[-1] ^= 1
    (tmp_path / HEAD).write_bytes(blob)
    with pytest.raises(CheckpointError, match="sha256"):
        LabelModel.load(tmp_path)
    described = json.loads((tmp_path / "head.json").read_text())
    (tmp_path / "head.json").write_text(json.dumps(described | {"classes": ["a", "b"]}))
    with pytest.raises(CheckpointError, match=HEAD):
        LabelModel.load(tmp_path)
