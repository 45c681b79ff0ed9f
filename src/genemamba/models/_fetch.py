"""Bring a checkpoint onto this machine."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from genemamba.errors import CheckpointError, InputError
from genemamba.models._cache import entry_folder, is_valid
from genemamba.models._download import place
from genemamba.models._registry import require


def fetch(name: str, to: str | PathLike[str] | None = None) -> Path:
    """Download a checkpoint once, and give the folder where it is.

    Every file is checked against its sha256 and put in place only when it is whole. What is there
    already is not fetched again: then no network is needed. Broken connections are retried; of
    several processes one downloads and the others wait.

    Parameters
    ----------
    name
        A name that :func:`available` lists.
    to
        Folder to write to, for a machine without internet: copy it there and
        :func:`load` it by its path. None is the cache (see ``GENEMAMBA_HOME``).

    Returns
    -------
    Folder with the files; for a checkpoint that comes with the package, its folder there.

    Raises
    ------
    CheckpointError
        If the name is unknown; or a file cannot be had (no network, ``GENEMAMBA_OFFLINE``, no
        such address), has other bytes than it should, or cannot be written.
    InputError
        If `to` holds other files under these names.

    Examples
    --------
    >>> import genemamba as gm
    >>> gm.models.fetch("genemamba-mini").name
    'genemamba-mini'
    """
    entry = require(name)
    cached = entry_folder(entry)
    if entry.bundled and not cached.is_dir():
        raise CheckpointError(f"{cached} is missing from the package", "install genemamba again")
    if to is None:
        for file in entry.files:
            place(file, cached)
        return cached
    folder = Path(to).expanduser().absolute()
    if entry.bundled:
        _copy(cached, folder)
    else:
        others = (f.name for f in entry.files if not is_valid(folder / f.name, f))
        _refuse(folder, others)
        for file in entry.files:
            copy = cached / file.name
            place(file, folder, source=copy if is_valid(copy, file) else None)
    return folder


def _copy(package: Path, folder: Path) -> None:
    try:
        names = [path.name for path in package.iterdir()]
        same, *_ = filecmp.cmpfiles(package, folder, names, shallow=False)
        _refuse(folder, set(names) - set(same))
        shutil.copytree(package, folder, dirs_exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written ({error})", "choose another") from None


def _refuse(folder: Path, others: Iterable[str]) -> None:
    """Refuse to write over files that are not those to be written."""
    if there := sorted(name for name in others if os.path.lexists(folder / name)):
        raise InputError(
            f"to={str(folder)!r} holds another {there[0]}", "give a new folder, or remove that file"
        )
