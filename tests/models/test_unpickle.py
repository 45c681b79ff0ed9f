from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from genemamba.errors import CheckpointError
from genemamba.models._unpickle import read_table

MEDIANS = {"ENSG01": np.float64(1.5), "ENSG02": 2.25, "ENSG03": np.int16(7), "ENSG04": -3, "é": "x"}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_plain_table(tmp_path: Path, protocol: int) -> None:
    table = {"a": 1, "b": 2.5, "c": "text", "d": -70_000, "e": 2**40, "é": "ü" * 300}
    (tmp_path / "t.pkl").write_bytes(pickle.dumps(table, protocol=protocol))
    assert read_table(tmp_path / "t.pkl") == table


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numpy_scalars(tmp_path: Path, protocol: int, module: bytes) -> None:
    scalars = [np.float32(1.5), np.float64(0.1), np.int8(-1), np.uint16(9), np.int64(2**40)]
    table = {f"g{i}": value for i, value in enumerate(scalars)} | MEDIANS
    data = pickle.dumps(table, protocol=protocol)
    for theirs in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        for head in (b"\x8c%c", b"c"):  # with its length, or by lines
            old, new = ((head % len(x) if b"%" in head else head) + x for x in (theirs, module))
            data = data.replace(old, new)
    # frames were counted before; their length is not looked at
    (tmp_path / "t.pkl").write_bytes(data)
    read = read_table(tmp_path / "t.pkl")
    assert read == {key: getattr(v, "item", lambda v=v: v)() for key, v in table.items()}
    assert {type(v) for v in read.values()} == {int, float, str}


@pytest.mark.parametrize(
    "name", ["token_dictionary.pkl", "gene_median_dictionary.pkl", "gene_name_id_dict.pkl"]
)
def test_the_published_tables(shared_data: Path, name: str) -> None:
    file = shared_data / "geneformer-v1" / name
    assert read_table(file) == pickle.loads(file.read_bytes())


class Payload:
    """Makes a file where it is unpickled."""

    def __init__(self, call: object, *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple:
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_executed(tmp_path: Path, protocol: int) -> None:
    victim = tmp_path / "executed"
    payloads = [
        Payload(os.mkdir, str(victim)),
        {"ENSG01": Payload(os.mkdir, str(victim))},
        {"ENSG01": Payload(eval, f"open({str(victim)!r}, 'w')")},
        {"ENSG01": Payload(getattr, 1, "real")},
        {"ENSG01": Payload(np.dtype, "O")},
    ]
    for payload in payloads:
        (tmp_path / "t.pkl").write_bytes(pickle.dumps(payload, protocol=protocol))
        with pytest.raises(CheckpointError, match="nothing in it was executed"):
            read_table(tmp_path / "t.pkl")
        assert not victim.exists()


@pytest.mark.parametrize(
    "value",
    [None, True, [1], {"a": 1}, (1,), {1}, b"bytes", 2**80, np.array([1.0]), np.str_("x"),
     np.float64("nan"), np.datetime64("2020-01-01"), Path("x"), "x" * 10_000, "\ud800"],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_other_values_are_refused(tmp_path: Path, value: object) -> None:
    (tmp_path / "t.pkl").write_bytes(pickle.dumps({"a": value}, protocol=4))
    with pytest.raises(CheckpointError, match="no plain table"):
        read_table(tmp_path / "t.pkl")


def u32(n: int) -> bytes:
    return struct.pack("<I", n)


SCALAR = b"cnumpy.core.multiarray\nscalar\n"
TUPLES = b"(t" + b"q\0h\0\x86" * 5_000  # two of two of two …: 2**5000 if it were walked


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "EOFError"),
        (b"\x80\x04", "EOFError"),
        (b"\x80\x04}", "EOFError"),
        (b".", "IndexError"),
        (b"}}.", "something else than one dict"),
        (b"}(.", "IndexError"),
        (b"K\x01.", "something else than one dict"),
        (b"X" + u32(2**32 - 1), "EOFError"),
        (b"\x8d" + b"\xff" * 8, "opcode"),  # BINUNICODE8
        (b"B" + u32(2**32 - 1), "opcode"),  # BINBYTES
        (b"\x96" + b"\xff" * 8, "opcode"),  # BYTEARRAY8
        (b"}r" + u32(2**32 - 1) + b".", None),  # a far memo is one entry, not a long list
        (b"}j" + u32(7) + b".", "Memo value not found at index 7"),
        (b"}\x8c\x01a\x8a\xff" + b"\1" * 255 + b"s.", "no plain text or number"),
        (b"\x8c\x02\xff\xfe.", "UnicodeDecodeError"),
        (b"}(K\x01u.", "ValueError"),
        (b"}(K\x01K\x01u.", "an entry int of dict"),
        (b"}\x8c\x01aK\x01s\x8c\x01aK\x02s.", "'a' occurs twice"),
        (b"(u.", "IndexError"),
        (b"u.", "IndexError"),
        (b"s.", "IndexError"),
        (b"((((\x85.", "IndexError"),
        (b"cos\nsystem\n(S'true'\ntR.", "'os.system'"),
        (b"\x8c\x02os\x8c\x06system\x93.", "'os.system'"),
        (b"K\x01K\x02\x93.", "STACK_GLOBAL requires str"),
        (b"c" + b"a" * 1000, "it asks for"),
        (b"(ios\nsystem\n.", "opcode"),  # INST
        (b"}(oo.", "opcode"),  # OBJ
        (b"cnumpy\ndtype\n(t\x81.", "opcode"),  # NEWOBJ
        (b"\x82\x01.", "opcode"),  # EXT1
        (b"Pid\n.", "opcode"),  # PERSID
        (b"}2222", "opcode"),  # DUP
        (b"K\x01(tR.", "TypeError"),
        (SCALAR + b"K\x01R.", "TypeError"),
        (SCALAR + b"(tR.", "TypeError"),
        (b"cnumpy\ndtype\n}\x89\x88\x87R.", "no plain number"),
        (b"cnumpy\ndtype\n(X" + u32(2) + b"O8\x89\x88tR.", "no plain number"),
        (b"cnumpy\ndtype\n(X" + u32(2) + b"f8\x89\x88tRC\x01xb.", "an object with a state"),
        (b"cnumpy\ndtype\n" + TUPLES + b"\x89\x88\x87R.", "no plain number"),
        (b"}" + TUPLES + b"K\x01s.", "an entry tuple of dict"),
        (b"}}b.", "an object with a state"),
        (SCALAR + b"}b.", "an object with a state"),  # attributes of the stand-ins stay
        (b"cnumpy\ndtype\n}b.", "an object with a state"),
        (b"}" + b"}" + b"\x85" * 100_000 + b"K\x01s.", "an entry tuple of dict"),  # deep to hash
        (b"N" * 2_000_000, "EOFError"),
        (b"N" * 5_000_000, "5000000 bytes"),
    ],
)  # fmt: skip
def test_hostile_opcodes(tmp_path: Path, data: bytes, said: str | None) -> None:
    (tmp_path / "t.pkl").write_bytes(data)
    if said is None:
        assert read_table(tmp_path / "t.pkl") == {}
        return
    with pytest.raises(CheckpointError, match=said):
        read_table(tmp_path / "t.pkl")


def test_any_bytes_give_a_table_or_a_checkpoint_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = pickle.dumps(MEDIANS, protocol=4)
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(len(data), size=rng.integers(1, 4)):
            data[at] ^= 1 << rng.integers(8)
        (tmp_path / "t.pkl").write_bytes(data[: rng.integers(len(data) // 2, len(data) + 1)])
        try:
            read_table(tmp_path / "t.pkl")
        except CheckpointError:
            continue
