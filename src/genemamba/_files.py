"""Files that are written whole or not at all, their hashes, and folders of work that resumes."""

from __future__ import annotations

import errno
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from genemamba.errors import InputError, shown

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNFINISHED = ".new"
_PARSING = threading.Lock()


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a path to write to, and rename it to `file` once everything is written."""
    new = file.with_name(file.name + _UNFINISHED)
    try:
        yield new
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(file) as new:
        new.write_text(text, encoding="utf-8")


def write_json(file: Path, values: dict[str, Any], indent: int | None = 2) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(file, json.dumps(values, indent=indent) + "\n")


def load_array(file: Path | IO[bytes], mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    """Read one array that :func:`numpy.save` wrote; from any thread.

    NumPy parses the header with :mod:`ast`, which Python 3.11 cannot do in two threads at a time.
    """
    with _PARSING:
        array: np.ndarray = np.load(file, mmap_mode=mmap_mode)
    return array


def load_arrays(file: Path, *names: str) -> list[np.ndarray]:
    """Read arrays by name that :func:`numpy.savez` wrote; from any thread."""
    with _PARSING, np.load(file) as saved:
        return [saved[name] for name in names]


def sha256(*parts: str | bytes | np.ndarray | Path) -> str:
    """Hash texts, bytes, arrays and the contents of files, one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
        elif isinstance(part, np.ndarray):
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


class ResumableFolder:
    """A folder of work that may be interrupted, and resumes only under the same settings.

    Parameters
    ----------
    path
        The folder; it need not exist.
    work
        What it holds, such as "pretraining".
    names
        Files of which one shows that the folder holds this work.

    Raises
    ------
    InputError
        If the folder holds something else.
    """

    def __init__(self, path: Path, work: str, *names: str) -> None:
        self.path, self.work = path, work
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file", "give a new folder")
        found = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
        found = {name for name in found if not name.endswith(_UNFINISHED)}
        self.begun = not found.isdisjoint(names)
        if found and not self.begun:
            raise InputError(f"{path} is not empty and holds no {work}", "give a new folder")

    def require_same(self, settings: Any, before: Any) -> None:
        """Refuse to resume work that was begun with other settings."""
        if differing := list(_differences(settings, before)):
            raise InputError(
                f"{self.path} holds a {self.work} with other settings: {', '.join(differing)}",
                "give a new folder, delete this one, or use its settings",
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say what to do when the disk is full."""
        try:
            yield
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            raise InputError(
                f"the disk is full; the {self.work} in {self.path} is not finished",
                "free some space and make the same call again: it resumes",
            ) from None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other processes from doing the same work in it."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / f"lock{_UNFINISHED}")  # a name that does not count as content
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except (PermissionError, NotADirectoryError, FileNotFoundError) as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror})", "give another out"
        ) from None
    except Timeout:
        raise InputError(
            f"{folder} is being written by another process", "wait for it, or use another out"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _differences(now: Any, before: Any, where: str = "") -> Iterator[str]:
    if isinstance(now, dict) and isinstance(before, dict):
        for key in sorted(now.keys() | before.keys()):
            yield from _differences(now.get(key), before.get(key), f"{where} {key}".strip())
    elif now != before:
        yield f"{where} was {shown(before)}, is {shown(now)}"
