from __future__ import annotations

from pathlib import Path

import pytest

import genemamba as gm
from genemamba.errors import CheckpointError
from genemamba.model import GeneMamba


def test_the_bundled_checkpoint_is_small_and_complete() -> None:
    model = gm.models.load("genemamba-mini")
    assert model.provenance["name"] == "genemamba-mini"
    assert len(model.vocab) == model.config.vocab_size
    folder = Path(model.provenance["path"])
    assert sum(f.stat().st_size for f in folder.iterdir()) < 12e6
    assert "not for" in (folder / "README.md").read_text().lower()


def test_a_path_and_a_loaded_model(tmp_path: Path, small_model: GeneMamba) -> None:
    small_model.save_pretrained(tmp_path)
    assert gm.models.load(tmp_path).vocab.sha256 == small_model.vocab.sha256
    assert gm.models.load(str(tmp_path)).config == small_model.config
    assert gm.models.load(small_model) is small_model


def test_vocabulary_alone(tmp_path: Path, small_model: GeneMamba) -> None:
    small_model.save_pretrained(tmp_path)
    assert gm.models.vocabulary(tmp_path).sha256 == small_model.vocab.sha256
    assert gm.models.vocabulary(small_model) is small_model.vocab
    small_model.vocab = None
    with pytest.raises(CheckpointError, match="no vocabulary"):
        gm.models.vocabulary(small_model)


@pytest.mark.parametrize("call", [gm.models.load, gm.models.vocabulary])
def test_an_unknown_model(call: object) -> None:
    with pytest.raises(CheckpointError, match=r"genemamba-mni.*\n.*use 'genemamba-mini'"):
        call("genemamba-mni")
