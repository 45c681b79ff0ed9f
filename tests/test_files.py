"""Files are whole or untouched, hashes are those of the bytes, folders resume under one call."""

from __future__ import annotations

import errno
import gc
import hashlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from genemamba._files import (
    ResumableFolder,
    load_array,
    load_arrays,
    replacing,
    sha256,
    write_json,
)
from genemamba.errors import InputError


def test_a_file_that_is_not_finished_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"a": 1})
    before = file.read_bytes()
    with pytest.raises(RuntimeError), replacing(file) as new:
        new.write_bytes(b"the beginning")
        raise RuntimeError
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_the_hash_is_that_of_all_bytes_in_order(tmp_path: Path) -> None:
    array = np.arange(12, dtype="<f8").reshape(3, 4)
    (tmp_path / "f").write_bytes(b"file" * 9)
    expected = hashlib.sha256(b"\xc3\xa9\0" + array.T.tobytes() + b"file" * 9).hexdigest()
    assert sha256("é", b"\0", array.T, tmp_path / "f") == expected
    assert sha256() == hashlib.sha256().hexdigest()


def test_a_folder_of_something_else_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        ResumableFolder(tmp_path / "file", "corpus", "a.json")
    with pytest.raises(InputError, match="not empty and holds no corpus"):
        ResumableFolder(tmp_path, "corpus", "a.json")
    assert ResumableFolder(tmp_path, "corpus", "a.json", "file").begun
    assert not ResumableFolder(tmp_path / "new", "corpus", "a.json").begun


def test_what_a_killed_write_left_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "a.json.new").touch()
    assert not ResumableFolder(tmp_path, "corpus", "a.json").begun


def test_every_setting_that_differs_is_named(tmp_path: Path) -> None:
    folder = ResumableFolder(tmp_path, "corpus", "a.json")
    folder.require_same({"a": {"b": 1, "c": [2]}}, {"a": {"b": 1, "c": [2]}})
    with pytest.raises(InputError, match="a b was 2, is 1, d was None, is 3"):
        folder.require_same({"a": {"b": 1}, "d": 3}, {"a": {"b": 2}})


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_that_the_call_resumes(tmp_path: Path, code: int) -> None:
    folder = ResumableFolder(tmp_path, "corpus", "a.json")
    with pytest.raises(InputError, match=r"disk is full(.|\n)*it resumes"), folder.writing():
        raise OSError(code, "full")
    with pytest.raises(OSError, match="gone"), folder.writing():
        raise OSError(errno.EIO, "gone")


def test_arrays_are_read_in_many_threads(tmp_path: Path) -> None:
    """In Python 3.11, two threads that parse the header at a time end in a SystemError."""
    array = np.arange(16, dtype="<i2")
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "b.npz", one=array, two=-array)

    def read(_: int) -> bool:
        mapped = load_array(tmp_path / "a.npy", "r")
        one, two = load_arrays(tmp_path / "b.npz", "one", "two")
        return bool((mapped == one).all() and (one == -two).all())

    def other_thread(*_: object) -> None:
        time.sleep(0)

    before = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(other_thread)  # lets go of the interpreter in the midst of parsing
    gc.set_threshold(10)
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(400)))
    finally:
        gc.callbacks.remove(other_thread)
        gc.set_threshold(*before[0])
        sys.setswitchinterval(before[1])
