from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from genemamba.errors import CheckpointError
from genemamba.heads import Components, LabelHead, fit_head, is_head, read_head, write_head
from genemamba.tokens import Measured

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


@pytest.fixture
def reads_expression() -> LabelHead:
    """A head that reads components of expression, and knows its genes."""
    X, y = blobs(150)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=X.shape).astype(np.float32)
    one = np.ones(10, dtype=np.float32)
    loading = rng.normal(size=(10, 10)).astype(np.float32)
    components = Components(np.arange(12), np.arange(10), 0 * one, one, loading)
    head = fit_head(noise, y, NAMES, "auto", rng=rng, components=components, expressed=X)
    assert head.reads in ("expression", "joined")
    head.info.pop("clear")
    share = np.full(12, 1 / 12, dtype=np.float32)
    return replace(head, measured=Measured(np.arange(12, dtype=np.int32), share))


def test_components_and_genes_are_kept(reads_expression: LabelHead, tmp_path: Path) -> None:
    write_head(reads_expression, tmp_path)
    again = read_head(tmp_path)
    assert again.reads == reads_expression.reads
    for part in ("components", "measured"):
        kept, was = vars(getattr(again, part)), vars(getattr(reads_expression, part))
        assert kept.keys() == was.keys()
        for name, value in was.items():
            np.testing.assert_array_equal(kept[name], value)
    X = np.random.default_rng(1).normal(size=(9, again.probe.weight.shape[1])).astype(np.float32)
    np.testing.assert_array_equal(again.proba(X), reads_expression.proba(X))
    np.testing.assert_array_equal(
        again.sets(X, again.proba(X), 0.9), reads_expression.sets(X, again.proba(X), 0.9)
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.pop("components.mean"),
        lambda d: [d.pop(k) for k in list(d) if k.startswith("components.")],
        lambda d: d.update({"components.place": d["components.place"] + 5}),
        lambda d: d.update({"components.basis": d["components.basis"][::-1].copy()}),
        lambda d: d.update({"components.loading": d["components.loading"][:, :4].copy()}),
        lambda d: d.update({"components.scale": d["components.scale"][1:].copy()}),
        lambda d: d.update({"components.other": d["components.scale"]}),
        lambda d: d.update({"probe.weight": d["probe.weight"][:, 1:].copy()}),
        lambda d: d.update({"measured.share": d["measured.share"][1:].copy()}),
        lambda d: d.update({"measured.share": d["measured.share"] * np.float32(np.nan)}),
    ],
)
def test_damaged_components_are_refused(spoil, reads_expression: LabelHead, tmp_path: Path) -> None:
    write_head(reads_expression, tmp_path)
    data = load((tmp_path / "labels.safetensors").read_bytes())
    spoil(data)
    whole = save(data)
    (tmp_path / "labels.safetensors").write_bytes(whole)
    file = tmp_path / "labels.json"
    described = json.loads(file.read_text()) | {"arrays_sha256": hashlib.sha256(whole).hexdigest()}
    file.write_text(json.dumps(described))
    with pytest.raises(CheckpointError):
        read_head(tmp_path)
