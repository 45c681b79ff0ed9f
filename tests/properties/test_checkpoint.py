"""Whatever a checkpoint's files hold, they are read as they were written or refused."""

from __future__ import annotations

import json
import pickle
import shutil
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

import genemamba as gm
from genemamba.errors import CheckpointError, GeneMambaError
from genemamba.heads import fit_head, read_terms, write_terms
from genemamba.heads.store import read_head, write_head
from genemamba.models._unpickle import read_table
from genemamba.network import GeneMamba, GeneMambaConfig
from genemamba.network.weights import WeightFile
from genemamba.tokens import MeanRanking, Ranked, Sketch, Vocabulary

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
N_GENES = 6
TABLE = {"ENSG0": np.int16(2), "ENSG1": 3, "A": 0.5, "B": np.float32(2), "C": "text"}


def made() -> Path:
    """Write a small checkpoint with all that may be in one."""
    folder = Path(tempfile.mkdtemp())
    ids = [f"ENSG{g:011d}" for g in range(N_GENES)]
    vocab = Vocabulary(ids, list("ABCDEF"), np.arange(1.0, 7.0), ["", "X|Y"] * 3, ("[MASK]",))
    sizes = dict(d_model=8, n_layers=1, d_state=4, headdim=8, chunk_size=4)
    model = GeneMamba(GeneMambaConfig(vocab_size=len(vocab), **sizes)).reset_parameters(0)
    model.vocab = vocab
    tokens, starts = np.array([2, 3, 4, 3, 2], np.int32), np.array([0, 3, 5])
    model.ranking = MeanRanking.of(Ranked(tokens, starts, np.ones(2), np.ones(2)), N_GENES)
    cells = sparse.csr_matrix(np.ones((2, N_GENES)))
    model.sketch = Sketch.of([cells], np.arange(N_GENES))
    model.save_pretrained(folder / "model")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 60)
    X = (2 * np.eye(8)[y] + rng.normal(0, 1, (60, 8))).astype(np.float32)
    write_head(fit_head(X, y, ("a", "b", "c"), "probe", rng=rng), folder / "labels")
    labels = Path(gm.models.__file__).parent / "bundled" / "genemamba-mini" / "labels"
    write_terms(read_terms(labels, lambda _: FEW), folder / "terms")
    (folder / "table.pkl").write_bytes(pickle.dumps(TABLE, protocol=4))
    return folder


FEW = np.random.default_rng(0).normal(size=(20, 256)).astype(np.float32)
WHOLE = made()
STATE = gm.models.load(WHOLE / "model").state_dict()
FILES = ["config.json", "genes.csv", "model.safetensors", "ranking.csv", "sketch.json"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
DESCRIBED = [*json.loads((WHOLE / "model" / "config.json").read_text()), "more"]
SETTINGS = st.sampled_from([field.name for field in fields(GeneMambaConfig)]) | st.text(max_size=4)
OPCODES = [bytes([n]) for n in b".0]}()tbusRcCX\x8c\x94qrhjKMJG\x8aN\x85\x86\x87\x93\x88\x89}es"]
EDITS = st.lists(
    st.tuples(st.sampled_from(["put", "over", "cut", "swap", "end"]), st.integers(0, 2**20),
              st.binary(max_size=12) | st.sampled_from([b"{", b'"', b"-1", b"1e999", b"[["])),
    min_size=1, max_size=4,
)  # fmt: skip


def edited(data: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    """Change some bytes."""
    for how, where, new in edits:
        at = where % (len(data) + 1)
        data = {
            "put": data[:at] + new + data[at:],
            "over": data[:at] + new + data[at + len(new) :],
            "cut": data[:at] + data[at + len(new) + 1 :],
            "swap": data[at:] + data[:at],
            "end": data[:at],
        }[how]
    return data


def changed(folder: str, file: str, edits: list[tuple[str, int, bytes]]) -> Path:
    """Copy a folder and change a file in it."""
    copy = WHOLE / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(WHOLE / folder, copy)
    (copy / file).write_bytes(edited((WHOLE / folder / file).read_bytes(), edits))
    return copy


@patient
@given(st.sampled_from(FILES), EDITS)
def test_a_changed_file_is_refused_or_means_the_same_weights(file: str, edits: list[Any]) -> None:
    folder = changed("model", file, edits)
    try:
        model = gm.models.load(folder)
    except CheckpointError as error:
        assert error.fix
        return
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, STATE[name])


@patient
@given(st.sampled_from(["labels.json", "labels.safetensors"]), EDITS)
def test_a_changed_label_head_is_refused_or_whole(file: str, edits: list[Any]) -> None:
    folder = changed("labels", file, edits)
    try:
        head = read_head(folder)
    except CheckpointError as error:
        assert error.fix
        return
    assert np.isfinite(head.proba(head.reference.X[:2])).all()
    assert head.distance(head.reference.X[:2]).shape == (2,)
    cells = head.reference.X[:2]
    assert head.sets(cells, head.proba(cells), 0.9).shape == (2, len(head.classes))


@patient
@given(st.sampled_from(["terms.json", "terms.safetensors"]), EDITS)
def test_changed_terms_are_refused_or_whole(file: str, edits: list[Any]) -> None:
    folder = changed("terms", file, edits)
    try:
        head = read_terms(folder, lambda _: FEW)
    except CheckpointError as error:
        assert error.fix
        return
    confidence = head.confidence(head.shares(head.reference.X[:2]))
    assert ((confidence >= 0) & (confidence <= 1)).all()
    assert head.named(confidence, np.ones(len(head.terms), dtype=bool)).shape == (2,)
    assert head.tissue_shares(head.shares(head.reference.X[:2])).shape == (len(head.tissues),)


@patient
@given(JSON, st.binary(max_size=16))
def test_any_header_is_refused_or_describes_the_bytes(entries: Any, data: bytes) -> None:
    file, text = WHOLE / "any.safetensors", json.dumps(entries).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)
    try:
        header = WeightFile(file)
    except CheckpointError:
        return
    assert sum(slot.stop - slot.start for slot in header.slots.values()) == len(data)


@patient
@given(st.dictionaries(st.sampled_from(DESCRIBED), JSON), st.dictionaries(SETTINGS, JSON))
def test_any_config_json_is_refused_or_changes_nothing(
    values: dict[str, Any], config: dict[str, Any]
) -> None:
    described = json.loads((WHOLE / "model" / "config.json").read_text())
    folder = changed("model", "config.json", [])
    described["config"] |= config
    (folder / "config.json").write_text(json.dumps(described | values))
    try:
        model = gm.models.load(folder)
    except CheckpointError as error:
        assert error.fix
        return
    assert model.vocab.n_genes == N_GENES


@patient
@given(EDITS)
def test_a_changed_pickle_is_refused_or_a_plain_table(edits: list[Any]) -> None:
    file = WHOLE / "changed.pkl"
    file.write_bytes(edited((WHOLE / "table.pkl").read_bytes(), edits))
    plain_or_refused(file)


@patient
@given(st.lists(st.sampled_from(OPCODES) | st.binary(max_size=4), max_size=40))
def test_any_opcodes_are_refused_or_a_plain_table(opcodes: list[bytes]) -> None:
    file = WHOLE / "any.pkl"
    file.write_bytes(b"\x80\x04" + b"".join(opcodes) + b".")
    plain_or_refused(file)


def plain_or_refused(file: Path) -> None:
    try:
        table = read_table(file)
    except GeneMambaError as error:
        assert error.fix
        return
    assert all(type(k) is str and type(v) in (str, int, float) for k, v in table.items())
