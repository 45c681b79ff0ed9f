"""Every kind of setting accepts its values, and says what to give instead of others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from genemamba._settings import (
    integer,
    names,
    number,
    one_of,
    problem,
    read_section,
    string,
    switch,
)
from genemamba.errors import InputError


@dataclass(frozen=True)
class Section:
    size: int = integer(4, 1, 8)
    rate: float = number(0.5, 0.0, 1.0)
    word: str = one_of("a", "b", "c")
    on: bool = switch(True)
    title: str = string()
    parts: tuple[str, ...] = names()


@pytest.mark.parametrize(
    ("key", "value", "fix"),
    [
        ("size", 0, "whole number from 1 to 8"),
        ("size", 2.0, "whole number"),
        ("size", True, "whole number"),
        ("rate", 10**400, "a number from 0 to 1"),
        ("rate", math.nan, "a number"),
        ("rate", "1", "a number"),
        ("word", "d", "use 'a', 'b' or 'c'"),
        ("word", ["a"], "use 'a', 'b' or 'c'"),
        ("on", 1, "true or false"),
        ("title", None, "give text"),
        ("parts", "a", "a list of names"),
        ("parts", [1], "a list of names"),
    ],
)
def test_what_is_not_accepted_is_named_with_a_fix(key: str, value: Any, fix: str) -> None:
    with pytest.raises(InputError, match=rf"^\[s\] {key} is ") as raised:
        read_section(Section, {key: value}, "[s]")
    assert fix in raised.value.fix
    what, same = problem(Section(**{key: value}))
    assert what.startswith(f"{key} is ")
    assert same == raised.value.fix


def test_values_are_stored_in_one_type() -> None:
    given = read_section(Section, {"rate": 1, "parts": ["x"]}, "[s]")
    assert given == Section(rate=1.0, parts=("x",))
    assert type(given.rate) is float
    assert problem(given) == ("", "")


def test_an_unknown_key_is_named_with_the_most_similar_one() -> None:
    with pytest.raises(InputError, match=r"\[s\] has no setting 'szie'(.|\n)*did you mean 'size'"):
        read_section(Section, {"szie": 1}, "[s]")
    with pytest.raises(InputError, match="section of its own"):
        read_section(Section, 3, "[s]")
