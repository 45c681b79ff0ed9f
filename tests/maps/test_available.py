from __future__ import annotations

from pathlib import Path

import pytest

import genemamba as gm

pytestmark = pytest.mark.usefixtures("home")


def test_the_table(home: Path) -> None:
    table = gm.maps.available()
    assert list(table.index) == ["genemamba-body"]
    assert list(table) == ["source", "licence", "on_disk"]
    assert table["on_disk"].dtype == bool
    assert table.loc["genemamba-body", "on_disk"]
    assert not home.exists()


def test_maps_and_checkpoints_are_listed_apart() -> None:
    assert not set(gm.maps.available().index) & set(gm.models.available().index)
