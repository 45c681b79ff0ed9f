from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from genemamba.datasets import Corpus
from genemamba.model import GeneMambaConfig
from genemamba.train.loop import MINI, Recipe, describe, train

RECIPE = Recipe(steps=6, cells=16, length=48, learning_rate=3e-3, held_out=0.15, save_every=3,
                check_every=3)  # fmt: skip


def config(corpus: Corpus) -> GeneMambaConfig:
    return GeneMambaConfig(
        vocab_size=len(corpus.vocab), d_model=32, n_layers=1, d_state=8, headdim=16, chunk_size=16,
        merge="mean", pre_norm=True, tie_embeddings=True,
    )  # fmt: skip


def test_it_learns(corpus: Corpus, tmp_path: Path) -> None:
    train(
        corpus, config(corpus), replace(RECIPE, steps=60, check_every=30), tmp_path, compile=False
    )
    first, last = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert last["held_out_genes"] < first["held_out_genes"] < 6.7  # a uniform guess: ln 768
    assert last["held_out_contrast"] < first["held_out_contrast"]


def test_a_resumed_run_is_the_unbroken_run(corpus: Corpus, tmp_path: Path) -> None:
    whole = train(corpus, config(corpus), RECIPE, tmp_path / "whole", compile=False)

    class Killed(Exception):
        pass

    def kill(step: int, *_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr("genemamba.train.loop._log", kill)  # dies after step 3, before it is saved
        train(corpus, config(corpus), replace(RECIPE, save_every=2), tmp_path / "b", compile=False)
    resumed = train(corpus, config(corpus), RECIPE, tmp_path / "b", compile=False)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_only_matrices_decay(corpus: Corpus, tmp_path: Path) -> None:
    from genemamba.model import GeneMamba
    from genemamba.train.objectives import CellContrast
    from genemamba.train.steps import decay_groups

    model = GeneMamba(config(corpus))
    named = [*model.named_parameters(), *CellContrast(32).named_parameters()]
    decayed, kept = decay_groups(named, weight_decay=0.01)
    names = {id(p): n for n, p in model.named_parameters()}
    assert decayed["weight_decay"] > 0 == kept["weight_decay"]
    kept_names = {names.get(id(p), "contrast").rsplit(".", 2)[-1] for p in kept["params"]}
    assert {"A_log", "D", "dt_bias"} <= kept_names
    assert not any("A_log" in names.get(id(p), "") for p in decayed["params"])


def test_an_exploding_gradient_stops_the_run(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="lower the rate"):
        train(corpus, config(corpus), replace(RECIPE, learning_rate=1e30), tmp_path, compile=False)


def test_the_record_repeats_the_run(corpus: Corpus) -> None:
    record = describe(MINI, corpus)
    assert Recipe(**record["recipe"]) == MINI
    assert json.loads(json.dumps(record)) == record
