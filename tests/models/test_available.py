from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import genemamba as gm
from genemamba.models import _registry

pytestmark = pytest.mark.usefixtures("home")


def test_the_table(home: Path) -> None:
    table = gm.models.available()
    assert list(table.index[:2]) == ["genemamba-mini", "genemamba-24l-512d"]
    assert list(table) == ["parameters", "vocabulary", "source", "licence", "on_disk"]
    published = table.loc["genemamba-24l-512d"]
    assert published.parameters == 65_744_338
    assert "no reuse licence is confirmed" in published.licence
    assert not published.on_disk
    assert table["parameters"].dtype == pd.Int64Dtype()
    assert table["on_disk"].dtype == bool
    assert not home.exists()


def test_the_gene_tables_are_those_of_geneformer(shared_data: Path) -> None:
    for file in _registry.GENEFORMER_V1:
        assert file.is_valid(shared_data / "geneformer-v1" / file.name)
