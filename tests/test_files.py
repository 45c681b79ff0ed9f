"""Files are whole or untouched, hashes are those of the bytes, folders resume under one call."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import numpy as np
import pytest

from genemamba._files import ResumableFolder, replacing, sha256, write_json
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
