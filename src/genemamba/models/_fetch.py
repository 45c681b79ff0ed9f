"""Download a checkpoint."""

from __future__ import annotations

import filecmp
import os
import shutil
from os import PathLike
from pathlib import Path

from genemamba.errors import CheckpointError, InputError
from genemamba.models._download import place
from genemamba.models._registry import Entry, require


def fetch(name: str, to: str | PathLike[str] | None = None) -> Path:
    """Download a checkpoint unless it is on disk, and return its folder.

    Every file is checked against its sha256 and put in place only when it is complete. Valid files
    are not fetched again and need no network. Broken connections are retried; of several processes
    one downloads and the others wait.

    Parameters
    ----------
    name
        A name that :func:`available` lists.
    to
        Folder to write to, for a machine without internet: copy it there and
        :func:`~genemamba.models.load` it by its path. Default: the cache (see ``GENEMAMBA_HOME``).

    Returns
    -------
    Folder with the files; for a checkpoint that comes with the package, its folder there.

    Raises
    ------
    CheckpointError
        If the name is unknown; or a file cannot be downloaded (no network,
        ``GENEMAMBA_OFFLINE``, no such address), has a wrong sha256, or cannot be written.
    InputError
        If `to` holds other files under these names.

    Examples
    --------
    >>> import genemamba as gm
    >>> gm.models.fetch("genemamba-mini").name
    'genemamba-mini'
    """
    return fetch_entry(require(name), to)


def fetch_entry(entry: Entry, to: str | PathLike[str] | None) -> Path:
    """Download the files of a checkpoint or a map, see :func:`fetch`."""
    cached = entry.folder
    if entry.bundled and not cached.is_dir():
        raise CheckpointError(f"{cached} is missing from the package", "install genemamba again")
    if to is None:
        for file in entry.files:
            place(file, cached)
        return cached
    folder = Path(to).expanduser().absolute()
    if entry.bundled:
        names = {path.name for path in cached.iterdir()}
        others = names - set(filecmp.cmpfiles(cached, folder, names, shallow=False)[0])
    else:
        others = {f.name for f in entry.files if not f.is_valid(folder / f.name)}
    if taken := sorted(name for name in others if os.path.lexists(folder / name)):
        raise InputError(
            f"to={str(folder)!r} holds another {taken[0]}", "give a new folder, or remove that file"
        )
    if entry.bundled:
        try:
            shutil.copytree(cached, folder, dirs_exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"{folder} cannot be written ({error})", "choose another"
            ) from None
    for file in entry.files:
        copy = cached / file.name
        place(file, folder, source=copy if file.is_valid(copy) else None)
    return folder
