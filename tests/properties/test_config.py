"""Whatever a recipe or a model's settings hold, they are read or refused with our own error."""

from __future__ import annotations

import tempfile
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from genemamba.errors import CheckpointError, InputError
from genemamba.network import GeneMambaConfig
from genemamba.train.recipe import _SECTIONS, READY, Recipe

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FOLDER = Path(tempfile.mkdtemp())
RECIPES = [
    (resources.files("genemamba.train") / "recipes" / f"{name}.toml").read_text() for name in READY
]
VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.integers(-1, 3)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["cosine", "parts", "whole", "gate", "factors", 10**400, -0.0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
SETTINGS = [field.name for field in fields(GeneMambaConfig)]


def section(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=4), VALUES, max_size=4)


SECTIONS = {
    name: section([field.name for field in fields(kind)]) for name, kind in _SECTIONS.items()
} | {"model": section([*SETTINGS, "start"]), "name": VALUES}
MAPPINGS = st.fixed_dictionaries({}, optional=SECTIONS) | st.dictionaries(
    st.sampled_from([*SECTIONS, "more"]), VALUES
)


@patient
@given(section(SETTINGS))
def test_any_settings_make_a_model_or_are_refused(values: dict[str, Any]) -> None:
    try:
        config = GeneMambaConfig.from_dict({"vocab_size": 10} | values)
    except CheckpointError as error:
        assert error.fix
        return
    assert GeneMambaConfig.from_dict(config.to_dict()) == config


@patient
@given(MAPPINGS)
@example({"optimiser": {"steps": 1, "learning_rate": 10**400}})
def test_any_mapping_is_a_recipe_or_refused(values: dict[str, Any]) -> None:
    try:
        recipe = Recipe.read(values)
    except InputError as error:
        assert error.fix
        return
    assert Recipe.read(recipe.to_dict()) == recipe


@patient
@given(
    st.sampled_from(RECIPES),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 9), st.text(max_size=9)), max_size=4),
)
@example("", [(0, 0, "[" * 9 + "a")])
@example("a = " + "[" * 9_999, [])
@example("a = " + "9" * 9_999, [])
@example("name = 0x" + "9" * 9_999, [])
@example("[optimiser]\nsteps = 0x" + "9" * 9_999, [])
@example("[model]\nd_model = 0x" + "9" * 9_999, [])
def test_any_text_is_a_recipe_or_refused(text: str, edits: list[tuple[int, int, str]]) -> None:
    for where, gone, new in edits:
        at = where % (len(text) + 1)
        text = text[:at] + new + text[at + gone :]
    file = FOLDER / "recipe.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        recipe = Recipe.read(file)
    except InputError as error:
        assert error.fix
        return
    assert Recipe.read(recipe.to_dict()) == recipe
