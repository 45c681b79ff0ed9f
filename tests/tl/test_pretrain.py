"""The door to pretraining; tests/train holds what is behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba import cli
from genemamba.errors import InputError

CONFIG = """
[model]
d_model = 32
n_layers = 1
d_state = 8
headdim = 16
[data]
cells = 16
length = 48
[optimiser]
steps = 4
[run]
compile = false
"""


@pytest.fixture
def folder(write_corpus: Callable[[AnnData, Path], Path], pbmc: AnnData, tmp_path: Path) -> Path:
    """Holds a corpus and a recipe."""
    write_corpus(pbmc, tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def test_the_command_does_what_the_function_does(folder: Path, pbmc: AnnData) -> None:
    where = ["--corpus", str(folder / "corpus"), "--out", str(folder / "a")]
    start = ["pretrain", str(folder / "config.toml"), "--accelerator", "cpu", *where]
    assert cli.main([*start, "--stop-after", "0"]) == 0
    assert (folder / "a" / "state.pt").exists()
    assert cli.main(start) == 0
    model = gm.tl.pretrain(
        folder / "corpus", folder / "b", recipe=folder / "config.toml", accelerator="cpu"
    )
    vectors = []
    for given in (folder / "a", model):
        gm.tl.embed(pbmc, model=given)
        vectors.append(pbmc.obsm["X_genemamba"].copy())
    np.testing.assert_array_equal(*vectors)
    assert np.isfinite(vectors[0]).all()


def test_errors_come_before_anything_is_written(folder: Path) -> None:
    for recipe, said in (
        ({"optimiser": {"steps": 1, "learning_rat": 1.0}}, "did you mean 'learning_rate'"),
        ("genemamba-maxi", "genemamba-mini"),
        ({"optimiser": {"steps": 1}, "data": {"held_out": ["cell"]}}, "did you mean 'cells'"),
    ):
        with pytest.raises(InputError, match=said):
            gm.tl.pretrain(folder / "corpus", folder / "out", recipe=recipe)
    with pytest.raises(InputError, match="not empty"):
        gm.tl.pretrain(folder / "corpus", folder, recipe=folder / "config.toml")
    assert not (folder / "out").exists()
