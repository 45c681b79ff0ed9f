from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.network.packed import PackedCells
from genemamba.network.runtime import choose_runtime
from genemamba.tokens import FIRST_GENE
from genemamba.train import tuning
from genemamba.train.finetune import FineTuned, finetune
from genemamba.train.label_model import LabelModel
from genemamba.train.lora import add_adapters, merge_adapters, projections

from .finetuning import CLASSES, N_GENES, RECIPE, accuracy, make_cells, make_model, pack, tune


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
