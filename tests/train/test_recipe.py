from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genemamba.errors import InputError
from genemamba.train.recipe import READY, Recipe

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", READY)
def test_ready_recipes_repeat_from_their_record(name: str) -> None:
    recipe = Recipe.read(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.config(25_426).d_model >= 256


def test_the_ready_recipes_are_those_of_the_package() -> None:
    files = (ROOT / "src/genemamba/train/recipes").glob("*.toml")
    assert sorted(file.stem for file in files) == sorted(READY)
    paper = Recipe.read("paper")
    assert paper.objectives.weights() == {"next": 1.0, "pathway": 0.1}
    assert paper.objectives.text().startswith("next gene")  # gm.tl.reconstruct goes by that
    assert paper.data.cells * paper.data.micro_batches == 96


def test_a_file_is_a_mapping_of_sections(tmp_path: Path) -> None:
    text = '[model]\nd_model = 64\n[optimiser]\nepochs = 2\n[data]\nheld_out = ["a", "b/c"]\n'
    (tmp_path / "mine.toml").write_text(text)
    recipe = Recipe.read(tmp_path / "mine.toml")
    assert recipe.name == "mine"
    assert recipe.data.held_out == ("a", "b/c")
    assert recipe == Recipe.from_dict({"name": "mine"} | tomllib.loads(text))


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"optimizer": {}}, "did you mean 'optimiser'"),
        ({"data": {"lenght": 3}}, r"\[data\] has no setting 'lenght'\n.*did you mean 'length'"),
        ({"model": {"d_modle": 3}}, r"\[model\] has no setting .*\n.*did you mean 'd_model'"),
        ({"model": {"vocab_size": 3}}, r"\[model\] has no setting 'vocab_size'"),
        ({"model": {"headdim": 7}}, r"\[model\] the inner width 64 .* headdim=7"),
        ({"model": {"merge": "max"}}, r"\[model\] merge is .max.\n.*'gate', 'mean'"),
        ({"model": {"start": 3}}, "give a checkpoint's folder"),
        ({"data": 3}, "section of its own"),
        ({"data": {"cells": 2.5}}, r"\[data\] cells is 2.5\n.*a whole number"),
        ({"data": {"cells": True}}, "a whole number"),
        ({"data": {"held_out": "a"}}, "give a list of names"),
        ({"data": {"views": "thirds"}}, r"is 'thirds'\n.*'parts' or 'whole'"),
        ({"data": {"views": "whole"}}, "contrast needs two views"),
        ({"objectives": {"masked": -1}}, r"\[objectives\] masked is -1\n.*from 0 up"),
        ({"objectives": {"masked": "a"}}, "give a number"),
        ({"objectives": {"mask_fraction": 1.5}}, "from 0.001 to 1"),
        ({"objectives": {"masked": 0, "contrast": 0}}, "all weights .* are 0"),
        ({"objectives": {"pathway": 0.1}}, "set gene_sets to a GMT file"),
        ({"optimiser": {"steps": 3, "epochs": 3}}, "give one of the two"),
        ({"optimiser": {"steps": 0}}, "give one of the two"),
        ({"optimiser": {"learning_rate": float("nan")}}, "learning_rate is nan"),
        ({"data": {"shallowest": 900, "deepest": 800}}, "make deepest the larger"),
        ({"data": {"pairs": 0.2}, "objectives": {"contrast": 0}}, "pairs is set without contrast"),
        ({"optimiser": {"ema": 0.9}}, r"\[optimiser\] ema was removed in 0.2.*\n.*leave ema out"),
        ({"objectives": {"two_direction": 1}}, "two_direction was removed in 0.2"),
        ({"run": {"compile": "yes"}}, "true or false"),
        ({"run": {"precision": "16"}}, "'bf16-mixed' or '32-true'"),
        ({"name": 3}, "give text"),
    ],
)
def test_errors_name_the_section_and_what_is_allowed(
    new_recipe: Callable[..., Recipe], sections: dict[str, Any], said: str
) -> None:
    given = new_recipe().to_dict()
    for name, values in sections.items():
        merged = given[name] | values if isinstance(values, dict) and name in given else values
        given[name] = merged
    with pytest.raises(InputError, match=said):
        Recipe.from_dict(given)


def test_what_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("a = = 1")
    for source, said in ((tmp_path / "bad.toml", "not TOML"), (tmp_path / "no.toml", "no recipe")):
        with pytest.raises(InputError, match=said):
            Recipe.read(source)
