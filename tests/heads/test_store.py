from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from genemamba.errors import CheckpointError
from genemamba.heads import LabelHead, fit_head, is_head, read_head, write_head

from .test_head import NAMES, blobs


@pytest.fixture
def head() -> LabelHead:
    return fit_head(*blobs(), NAMES, "probe", rng=np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["knn", "probe"])
def test_what_is_read_answers_as_what_was_written(kind: str, tmp_path: Path) -> None:
    head = fit_head(*blobs(), NAMES, kind, rng=np.random.default_rng(0))
    assert not is_head(tmp_path)
    write_head(head, tmp_path)
    assert is_head(tmp_path)
    again, X = read_head(tmp_path), blobs(seed=1)[0]
    np.testing.assert_array_equal(head.proba(X), again.proba(X))
    np.testing.assert_array_equal(head.distance(X), again.distance(X))
    assert (again.classes, again.farthest, again.info) == (NAMES, head.farthest, head.info)
    np.testing.assert_array_equal(
        head.sets(X, head.proba(X), 0.9), again.sets(X, again.proba(X), 0.9)
    )


@pytest.mark.parametrize(
    "damage",
    [
        {"classes": ["a", "b"]},
        {"kind": "pickle"},
        {"temperature": 0},
        {"farthest": "far"},
        {"info": None, "classes": None},
    ],
)
def test_what_does_not_fit_is_refused(damage: dict, head: LabelHead, tmp_path: Path) -> None:
    write_head(head, tmp_path)
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | damage))
    with pytest.raises(CheckpointError):
        read_head(tmp_path)


@pytest.mark.parametrize("name", ["labels.json", "labels.safetensors"])
def test_a_damaged_or_missing_file_is_refused(name: str, head: LabelHead, tmp_path: Path) -> None:
    write_head(head, tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError):
        read_head(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError):
        read_head(tmp_path)


def test_a_head_of_an_earlier_version_is_read(head: LabelHead, tmp_path: Path) -> None:
    one = replace(head, scores=(np.concatenate(head.scores),), fold_probes=())
    write_head(one, tmp_path)
    data = load((tmp_path / "labels.safetensors").read_bytes())
    del data["score_fold"]
    (tmp_path / "labels.safetensors").write_bytes(save(data))
    file = tmp_path / "labels.json"
    sha = hashlib.sha256((tmp_path / "labels.safetensors").read_bytes()).hexdigest()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"arrays_sha256": sha}))
    again, X = read_head(tmp_path), blobs(seed=1)[0]
    np.testing.assert_array_equal(
        one.sets(X, one.proba(X), 0.9), again.sets(X, again.proba(X), 0.9)
    )
