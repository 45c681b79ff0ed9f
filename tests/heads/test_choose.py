from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from genemamba.heads import HeldOut, fit_head
from genemamba.heads.choose import STRENGTHS, Labelled, choose, choose_strength, nested

from .test_head import NAMES, blobs


def answers(y: np.ndarray, wrong: np.ndarray) -> HeldOut:
    """Logits that name the next class for `wrong` cells."""
    named = np.where(wrong, (y + 1) % 3, y)
    return HeldOut(np.arange(len(y)), np.eye(3, dtype=np.float32)[named] * 4)


@pytest.fixture
def y() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, 300)


def test_the_highest_mean_of_macro_f1_over_folds(y: np.ndarray) -> None:
    fold, rng = np.arange(300) % 5, np.random.default_rng(1)
    found = {name: answers(y, rng.random(300) < p) for name, p in (("a", 0.3), ("b", 0.1))}
    choice = choose(found, y, fold, every=True)
    assert choice.name == "b"
    for name, own in found.items():
        named = own.logits.argmax(axis=1)
        folds = [f1_score(y[fold == k], named[fold == k], average="macro") for k in range(5)]
        assert choice.macro_f1[name] == pytest.approx(np.mean(folds))
    assert choice.clear == (("b", "a"),)


def test_a_tie_goes_to_the_first_and_nothing_is_clear(y: np.ndarray) -> None:
    wrong = np.random.default_rng(1).random(300) < 0.2
    found = {name: answers(y, wrong) for name in ("embedding", "joined", "expression")}
    choice = choose(found, y, np.arange(300) % 5, every=True)
    assert choice.name == "embedding"
    assert choice.clear == ()


def test_a_fold_is_judged_by_what_the_others_choose(y: np.ndarray) -> None:
    """One candidate is better in one fold only, another in all others."""
    fold = np.arange(300) % 3
    found = {"a": answers(y, fold == 0), "b": answers(y, fold != 0)}
    held_out = choose(found, y, fold, every=True).held_out
    right = held_out.logits.argmax(axis=1) == y
    assert not right[fold == 0].any()  # folds 1 and 2 prefer "a", which is wrong in fold 0
    assert choose({"a": found["a"]}, y, fold, every=True).name == "a"


def test_nothing_to_judge_by_means_the_first(y: np.ndarray) -> None:
    none = HeldOut(np.arange(300), np.full((300, 3), -np.inf, np.float32))
    choice = choose({"embedding": none, "knn": none}, y, np.arange(300) % 5, every=False)
    assert (choice.name, choice.macro_f1, choice.clear) == ("embedding", {}, ())


def test_nested_folds_hold_out_each_cell_once_and_whole_groups() -> None:
    X, y = blobs(240)
    groups = np.repeat(list("abcd"), 60)
    y[(groups != "d") & (y == 2)] = 0  # class 2 in one donor only
    labelled = Labelled(X, y, 3, groups)
    found = nested(labelled, np.random.default_rng(0), n_folds=4)
    assert sorted(found.cells) == list(range(240))
    of_d = found.logits[groups[found.cells] == "d"]
    assert np.isneginf(of_d[:, 2]).all()  # its classifier had seen no cell of that class
    strength, temperature = choose_strength(labelled, np.random.default_rng(0), n_folds=4)
    assert strength in STRENGTHS and temperature > 0


def space(y: np.ndarray, distance: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(3, 60)) * distance
    return (centre[y] + rng.normal(size=(len(y), 60))).astype(np.float32)


@pytest.mark.parametrize(
    ("embedded", "expressed", "reads"),
    [(0.6, 0.0, "embedding"), (0.0, 0.6, "expression"), (0.22, 0.22, "joined")],
)
def test_auto_reads_what_carries_the_classes(
    embedded: float, expressed: float, reads: str, y: np.ndarray
) -> None:
    from genemamba.heads import Components

    X, E = space(y, embedded, 1), space(y, expressed, 2)
    one = np.ones(60, dtype=np.float32)
    components = Components(np.arange(60), np.arange(60), 0 * one, one, np.eye(60, dtype="f"))
    head = fit_head(
        X, y, NAMES, "auto", rng=np.random.default_rng(0), components=components, expressed=E
    )
    scores = head.info["candidates"]
    assert set(scores) == {"embedding", "joined", "expression", "discriminants", "knn"}
    assert scores[head.info["used"]] == max(scores.values())
    good = {"joined", reads} if reads != "embedding" else {"joined", "embedding"}
    assert head.reads in good
    assert (head.components is None) == (head.reads == "embedding")
    assert head.info["held_out_macro_f1"] > max(scores.values()) - 0.03
    assert (("expression", "embedding") in head.info["clear"]) == (reads == "expression")


def test_auto_without_expression_is_the_embedding_or_its_neighbours() -> None:
    head = fit_head(*blobs(150), NAMES, "auto", rng=np.random.default_rng(0))
    assert set(head.info["candidates"]) == {"embedding", "knn"}
    assert head.reads == "embedding" and head.components is None
