from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from genemamba.datasets import Corpus
from genemamba.train.card import CARD, write_card
from genemamba.train.engine import pretrain
from genemamba.train.recipe import Recipe


def test_a_card_says_what_the_run_was(
    corpus: Corpus, new_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    model = pretrain(corpus, new_recipe(), tmp_path / "run")
    card = (tmp_path / "run" / CARD).read_text()
    assert model.provenance["sha256"] in card
    assert f"{len(corpus):,} human cells from {len(corpus.groups)} libraries" in card
    assert f"| cells.h5ad | {len(corpus):,} |" in card
    assert "6 steps" in card and "| 3 |" in card and "| 6 |" in card
    assert "have not been evaluated" in card


def test_scores_and_limits_are_added(
    corpus: Corpus, new_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    pretrain(corpus, new_recipe(), tmp_path / "run")
    row = {"f1": 0.5, "avg_bio": 0.25}
    rows = {"model": row, "random": row, "pca": {"f1": 0.75, "avg_bio": 0.125}}
    (tmp_path / "scores.json").write_text(json.dumps({"sets": {"blood": {"rows": rows}}}))
    (tmp_path / "limits.md").write_text("## What it is not for\n\nMice.\n")
    write_card(tmp_path / "run", scores=tmp_path / "scores.json", limits=tmp_path / "limits.md")
    card = (tmp_path / "run" / CARD).read_text()
    assert "| blood | 0.500 / 0.500 / 0.750 | 0.250 / 0.250 / 0.125 |" in card
    assert card.endswith("Mice.\n") and "not been evaluated" not in card
