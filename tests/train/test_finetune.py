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
from genemamba.heads import HeldOut, fit_head
from genemamba.network import GeneMamba, GeneMambaConfig
from genemamba.network.packed import PackedCells
from genemamba.network.runtime import choose_runtime
from genemamba.tokens import FIRST_GENE, Ranked, Vocabulary
from genemamba.train import tuning
from genemamba.train.finetune import FineTuned, FineTuneRecipe, finetune
from genemamba.train.label_model import HEAD, LabelModel
from genemamba.train.lora import add_adapters, merge_adapters, projections
from genemamba.train.split import hold_out, set_apart

N_GENES = 80
CLASSES = ("a", "b", "c")
RECIPE = FineTuneRecipe(
    epochs=6, head_epochs=15, cells=16, length=16, learning_rate=2e-2, head_learning_rate=5e-3,
    patience=6,
)  # fmt: skip


def make_model(extra: tuple[str, ...] = ("[MASK]",), **settings: Any) -> GeneMamba:
    vocab = Vocabulary(
        ensembl_id=np.array([f"ENSG{i:011d}" for i in range(N_GENES)]),
        symbol=np.full(N_GENES, ""),
        median=np.ones(N_GENES),
        alias=np.full(N_GENES, ""),
        extra=extra,
    )
    sizes = {"d_model": 16, "n_layers": 1, "d_state": 8, "headdim": 16, "chunk_size": 16,
             "merge": "mean", "pre_norm": True, "tie_embeddings": True} | settings  # fmt: skip
    model = GeneMamba(GeneMambaConfig(vocab_size=len(vocab), **sizes)).reset_parameters(0)
    model.vocab = vocab
    return model.eval()


def make_cells(n: int = 300, seed: int = 0) -> tuple[Ranked, np.ndarray, np.ndarray]:
    """Cells of 11 to 22 genes; the class shows in two markers that are often there, donor in one.

    Genes 0-1 mark class 0, 2-3 class 1, 4-5 class 2.
    """
    rng = np.random.default_rng(seed)
    labels, donors = np.arange(n) % 3, np.arange(n) // 3 % 5
    rows = []
    for label, donor in zip(labels, donors, strict=True):
        row = rng.choice(np.arange(12, N_GENES), rng.integers(10, 20), replace=False)
        row = np.insert(row, rng.integers(len(row)), 6 + donor)
        for gene in (2 * label, 2 * label + 1):
            if rng.random() < 0.85:
                row = np.insert(row, rng.integers(len(row)), gene)
        rows.append(row + FIRST_GENE)
    return pack(rows), labels, donors


def pack(rows: list[np.ndarray]) -> Ranked:
    indptr = np.append(0, np.cumsum([len(r) for r in rows])).astype(np.int64)
    n = np.ones(len(rows))
    return Ranked(np.concatenate(rows).astype(np.int32), indptr, n, n)


def tune(model: GeneMamba | None = None, **settings: Any) -> FineTuned:
    cells, labels, donors = make_cells()
    return finetune(
        model or make_model(), cells, labels, CLASSES, groups=donors,
        recipe=replace(RECIPE, **settings),
    )  # fmt: skip


def accuracy(tuned: FineTuned) -> float:
    cells, labels, _ = make_cells(150, seed=1)
    return float(np.mean(tuned.logits(cells).argmax(1) == labels))


@pytest.fixture(scope="module")
def tuned() -> FineTuned:
    return tune()


@pytest.fixture(scope="module")
def headed() -> FineTuned:
    return tune(tune="head")


@pytest.fixture(scope="module")
def adapted() -> FineTuned:
    return tune(tune="lora")


def test_it_learns_what_a_frozen_body_does_not_show(tuned: FineTuned, headed: FineTuned) -> None:
    assert accuracy(tuned) > 0.75
    assert accuracy(tuned) > accuracy(headed) + 0.2
    assert tuned.epoch > 0


def test_the_best_epoch_is_kept(tuned: FineTuned) -> None:
    body = [row for row in tuned.history if row["part"] == "all"]
    best = max(tuned.history, key=lambda row: (row["macro_f1"], -row["validation_loss"]))
    assert best is body[tuned.epoch - 1]
    cells, labels, _ = make_cells()
    found = tuned.validation_logits.argmax(1)
    assert np.mean(found == labels[tuned.validation]) == best["accuracy"]
    np.testing.assert_allclose(
        tuned.logits(cells)[tuned.validation], tuned.validation_logits, atol=1e-5
    )


def test_patience_ends_the_run() -> None:
    hopeless = tune(learning_rate=1e-12, head_learning_rate=1e-12, patience=2)
    best = max(hopeless.history, key=lambda row: (row["macro_f1"], -row["validation_loss"]))
    assert hopeless.epoch == (best["epoch"] if best["part"] == "all" else 0)
    assert sum(row["part"] == "all" for row in hopeless.history) <= hopeless.epoch + 2


def test_validation_groups_are_never_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, donors = make_cells()
    seen: set[int] = set()
    step = tuning.Tuning._step

    def watch(self: Any, optimiser: Any, rate: float, read: Any, rows: np.ndarray, rng: Any) -> Any:
        seen.update(rows.tolist())
        return step(self, optimiser, rate, read, rows, rng)

    monkeypatch.setattr(tuning.Tuning, "_step", watch)
    result = tune(epochs=1, head_epochs=1)
    held = set(donors[result.validation])
    assert 1 <= len(held) < 5
    apart = set(donors[result.apart])
    assert apart and not apart & held
    assert seen == set(np.flatnonzero(~np.isin(donors, list(held | apart))))


def test_the_model_given_is_left_alone() -> None:
    model = make_model()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    tune(model, epochs=1, head_epochs=1)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert model.vocab is not None and len(model.vocab) == model.config.vocab_size


def test_batch_padding_and_neighbours_change_nothing(tuned: FineTuned) -> None:
    cells, _, _ = make_cells(40, seed=2)
    alone, together = (
        tuned.model.logits(cells, runtime=choose_runtime(batch_size=size)) for size in (1, 40)
    )
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(tuned.logits(cells), alone, atol=1e-5)
    ids = torch.from_numpy(cells.tokens[: cells.indptr[1]].astype(np.int64))[None]
    longer = torch.nn.functional.pad(ids, (0, 9), value=FIRST_GENE)  # what padding says is ignored
    with torch.inference_mode():
        padded = tuned.model(longer, torch.tensor([ids.shape[1]]))
    np.testing.assert_allclose(padded[0], alone[0], atol=1e-5)


def test_cls_stands_at_position_0() -> None:
    """A [CLS] of the vocabulary and one of the label model's own read the same."""
    model = make_model(extra=("[CLS]", "[MASK]"))
    net = LabelModel(model, CLASSES)
    ids = torch.arange(FIRST_GENE, FIRST_GENE + 12).reshape(2, 6)
    lengths = torch.tensor([6, 4])
    with torch.inference_mode():
        states = net.states(ids, lengths)
        with_cls = torch.nn.functional.pad(ids, (1, 0), value=model.vocab.special("[CLS]"))
        torch.testing.assert_close(
            states[:, :16], model.embed(PackedCells.padded(with_cls, lengths + 1), "cls")
        )
        net.cls.add_(1.0)
        assert not torch.allclose(net.states(ids, lengths), states)


def test_a_fresh_cls_is_the_mean_of_the_genes() -> None:
    model = make_model()
    genes = model.embeddings.weight[FIRST_GENE : FIRST_GENE + N_GENES]
    torch.testing.assert_close(LabelModel(model, CLASSES).cls, genes.mean(0))


def test_cells_without_tokens_are_left_out_and_nan() -> None:
    cells, labels, donors = make_cells(60)
    rows = np.split(cells.tokens, cells.indptr[1:-1])
    rows[0] = rows[7] = rows[0][:0]
    result = finetune(
        make_model(), pack(rows), labels, CLASSES, groups=donors,
        recipe=replace(RECIPE, epochs=1, head_epochs=1),
    )  # fmt: skip
    assert not {0, 7} & {*result.validation, *result.apart}
    without = np.isnan(result.logits(pack(rows))).any(1)
    np.testing.assert_array_equal(np.flatnonzero(without), [0, 7])
    assert np.isnan(result.embed(pack(rows))).all(1).sum() == 2


def moved(model: GeneMamba, result: FineTuned) -> set[str]:
    after = result.model.body.state_dict()
    return {n for n, t in model.state_dict().items() if not torch.equal(t, after[n])}


def test_frozen_weights_do_not_move(
    headed: FineTuned, adapted: FineTuned, tuned: FineTuned
) -> None:
    model = make_model()
    assert moved(model, headed) == set()
    assert torch.equal(headed.model.cls, LabelModel(model, CLASSES).cls)
    assert moved(model, adapted) == {
        f"mamba_mixer.layers.0.mamba.{name}_proj.weight" for name in ("in", "out")
    }
    assert "lm_head.bias" not in moved(model, tuned)
    assert {"embeddings.weight", "norm_f.weight"} <= moved(model, tuned)


def test_merged_adapters_are_the_same_model() -> None:
    model = make_model()
    ids = torch.arange(FIRST_GENE, FIRST_GENE + 12).reshape(2, 6)
    before = model(ids)
    names = list(model.state_dict())
    add_adapters(model, rank=2)
    assert torch.equal(model(ids), before)  # zero at the start
    with torch.no_grad():
        for layer in projections(model):
            layer.parametrizations.weight[0].up.normal_()
    adapted = model(ids)
    assert not torch.allclose(adapted, before)
    merge_adapters(model)
    assert torch.equal(model(ids), adapted)
    assert list(model.state_dict()) and set(model.state_dict()) == set(names)


def test_adapters_learn(adapted: FineTuned, headed: FineTuned) -> None:
    assert accuracy(adapted) > accuracy(headed) + 0.1


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
import test_finetune as t
from genemamba.network import runtime
from genemamba.train import tuning
runtime.bfloat16_unit = lambda device: ""  # as in the tests
tuning._SAVE_SECONDS = 0.0  # after every step
t.small_run(Path(sys.argv[2]))
"""


def small_run(folder: Path) -> None:
    cells, labels, donors = make_cells(60)
    finetune(make_model(), cells, labels, CLASSES, groups=donors, folder=folder,
             recipe=replace(RECIPE, epochs=4, head_epochs=3))  # fmt: skip


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


def test_a_damaged_model_is_refused(tuned: FineTuned, tmp_path: Path) -> None:
    tuned.model.save(tmp_path)
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


def test_bad_input_is_refused() -> None:
    cells, labels, donors = make_cells(30)

    def call(**other: Any) -> None:
        given = {"model": make_model(), "ranked": cells, "labels": labels, "classes": CLASSES,
                 "recipe": replace(RECIPE, epochs=1, head_epochs=1)} | other  # fmt: skip
        finetune(**given)

    missing = labels.astype(float)
    missing[0] = np.nan
    empty = pack([np.zeros(0, int)] * 30)
    for other, what in (
        ({"classes": ("a",), "labels": 0 * labels}, "only one class"),
        ({"labels": labels + 1}, "from 1 to 3"),
        ({"labels": labels - 1}, "from -1 to 1"),
        ({"labels": missing}, "NaN"),
        ({"labels": labels.astype(float)}, "float64"),
        ({"labels": labels[1:]}, "shape"),
        ({"groups": donors[1:]}, "shape"),
        ({"groups": missing}, "groups hold NaN"),
        ({"ranked": empty}, "no cell has a token"),
        ({"classes": ("a", "b", "c", "d")}, "'d' has no cell"),
        ({"classes": ("a", "b", "b")}, "repeated"),
        ({"ranked": pack([np.full(3, 500)] * 30)}, "from another model"),
    ):
        with pytest.raises(InputError, match=what):
            call(**other)
    with pytest.raises(InputError, match="no class has three cells"):
        finetune(make_model(), pack([np.array([5])] * 2), np.array([0, 1]), ("a", "b"))


@pytest.mark.parametrize(
    "wrong",
    [{"tune": "some"}, {"epochs": 0}, {"cells": 2.5}, {"seed": -1}, {"learning_rate": np.nan},
     {"validation_fraction": 0.9}, {"warmup": 2.0}],
)  # fmt: skip
def test_a_recipe_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        replace(RECIPE, **wrong)


def test_divergence_is_said() -> None:
    with pytest.raises(FloatingPointError, match="learning_rate"):
        tune(learning_rate=1e30)


def test_a_class_of_one_cell_is_for_training() -> None:
    labels = np.array([0] * 10 + [1] * 10 + [2])
    training, validation = hold_out(labels, None, 0.2, seed=0)
    assert 20 in training
    assert np.bincount(labels[validation]).tolist() == [2, 2]
    assert sorted([*training, *validation]) == list(range(21))


def test_cells_set_apart_are_drawn_whatever_their_class() -> None:
    labels = np.array([0] * 80 + [1] * 16 + [2] * 4 + [3])
    counts = np.zeros(4)
    for seed in range(200):
        rest, apart = set_apart(labels, None, 0.2, seed)
        assert sorted([*rest, *apart]) == list(range(101))
        assert (np.bincount(labels[rest], minlength=4) >= [2, 2, 2, 1]).all()
        counts += np.bincount(labels[apart], minlength=4)
    assert counts[:3] / 200 == pytest.approx([16, 3.2, 0.7], rel=0.15)
    assert counts[3] == 0


def test_no_class_leaves_training_with_its_donor() -> None:
    labels = np.array([0, 1] * 10 + [2] * 3)
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4] * 2 + [4] * 3)
    for seed in range(20):
        training, validation = hold_out(labels, groups, 0.2, seed)
        assert set(labels[training]) == {0, 1, 2}
        assert not set(groups[training]) & set(groups[validation])
    confounded = labels  # every group is a class: cells are drawn instead
    training, validation = hold_out(labels, confounded, 0.2, seed=0)
    assert set(labels[training]) == {0, 1, 2} == set(labels[validation])


@pytest.mark.slow
@pytest.mark.parametrize("n", [150, 600])
@pytest.mark.parametrize("signal", [False, True])
def test_cells_set_apart_say_how_good_it_is(n: int, signal: bool) -> None:
    rows = []
    for seed in range(120 if n == 150 else 40):  # 22 cells set apart say little each time
        rng = np.random.default_rng([seed, n])
        cells, labels, _ = make_cells(n + 600, seed=seed)
        order = rng.permutation(n + 600)
        cells, labels = cells.take(order), labels[order]
        wrong = rng.random(len(labels)) < (0.4 if signal else 1)
        labels = np.where(wrong, rng.integers(0, 3, len(labels)), labels)
        recipe = replace(RECIPE, epochs=2, head_epochs=5, seed=seed)
        result = finetune(
            make_model(), cells.take(np.arange(n)), labels[:n], CLASSES, recipe=recipe
        )
        held_out = HeldOut(result.apart, result.apart_logits)
        X = rng.normal(size=(n + 600, 2)).astype(np.float32)  # of no interest here
        head = fit_head(X[:n], labels[:n], CLASSES, "finetune", rng=rng, held_out=held_out)
        proba = head.proba(X[n:], logits=result.logits(cells.take(np.arange(n, n + 600))))
        truth = labels[n:]
        covered = head.sets(X[n:], proba, 0.9)[np.arange(600), truth].mean()
        accurate = (proba.argmax(1) == truth).mean()
        rows.append((covered, accurate, head.info["held_out_accuracy"]))
    covered, accurate, reported = np.mean(rows, axis=0)
    print(n, signal, covered, accurate, reported)
    assert covered == pytest.approx(0.9, abs=0.03)
    spread = np.sqrt(0.25 / (0.15 * n * len(rows)))  # of an unbiased figure from so few cells
    assert reported == pytest.approx(accurate, abs=0.01 + 2 * spread)
