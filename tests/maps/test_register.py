from __future__ import annotations

from typing import Any

import pytest

import genemamba as gm
from genemamba.errors import CheckpointError, InputError
from genemamba.models import _registry

AT, SHA = "https://lab.example.org/gut", "0123456789abcdef" * 4
FILES = {name: (f"{AT}/{name}", SHA) for name in ("map.json", "cells.safetensors")}

pytestmark = pytest.mark.usefixtures("home")


def test_a_map_gets_a_name() -> None:
    secret = {**FILES, "map.json": ("https://me:secret@lab.example.org/map.json?token=1", SHA)}
    gm.maps.register("gut-map", secret, licence="CC BY 4.0")
    row = gm.maps.available().loc["gut-map"]
    assert (row.licence, row.on_disk) == ("CC BY 4.0", False)
    assert row.source == "https://lab.example.org/map.json"
    assert "gut-map" not in gm.models.available().index
    with pytest.raises(CheckpointError):
        gm.models.load("gut-map")


@pytest.mark.parametrize(
    ("name", "url", "said"),
    [
        ("genemamba-body", FILES, "is taken"),
        ("GeneMamba-Mini", FILES, "is taken"),  # a checkpoint
        ("../up", FILES, "is not a plain name"),
        ("gut", {}, "url has no map.json"),
        ("gut", {"cells.safetensors": (AT, SHA)}, "url has no map.json"),
        ("gut", {"map.json": AT}, r"is not \(address, sha256\)"),
        ("gut", {"map.json": (AT, SHA[1:])}, "is not 64 hexadecimal digits"),
        ("gut", {"map.json": ("file:///etc/passwd", SHA)}, "not an http or https address"),
        ("gut", {**FILES, "../up": (AT, SHA)}, "is not a plain name"),
        ("gut", 5, "url"),
        ("gut", "https://lab.example.org/map.json", "url"),
        (5, FILES, "name"),
    ],
)
def test_what_is_refused(name: Any, url: Any, said: str) -> None:
    before = dict(_registry._ENTRIES)
    with pytest.raises(InputError, match=said):
        gm.maps.register(name, url)
    assert before == _registry._ENTRIES
