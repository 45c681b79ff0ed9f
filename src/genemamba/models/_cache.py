"""Where fetched checkpoints lie on disk, and whether their bytes are right; nothing is changed.

The folder of an entry carries a hash of its contents, so another release under the same name never
meets the files of this one.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from genemamba._files import sha256
from genemamba.errors import CheckpointError
from genemamba.models._registry import Entry, RemoteFile, lookup


def home() -> Path:
    """Give the cache folder: GENEMAMBA_HOME, or what the platform has for caches."""
    if moved := os.environ.get("GENEMAMBA_HOME"):
        return Path(moved).expanduser().absolute()
    import pooch

    return Path(pooch.os_cache("genemamba"))


def entry_folder(entry: Entry) -> Path:
    """Give the folder of an entry; it need not exist."""
    if entry.bundled:
        return Path(str(files("genemamba.models") / "bundled" / entry.name))
    contents = "".join(sorted(f"{file.name} {file.sha256}\n" for file in entry.files))
    return home() / f"{entry.name}-{sha256(contents)[:12]}"


def on_disk(name: str) -> Path | None:
    """Give the folder of a known checkpoint if all its files are there, after hashing them.

    Raises
    ------
    CheckpointError
        If a file is there but is not what it should be.
    """
    entry = lookup(name)
    if entry is None or not looks_complete(entry):
        return None
    folder = entry_folder(entry)
    for file in entry.files:
        if not is_valid(folder / file.name, file):
            raise CheckpointError(
                f"{folder / file.name} is damaged: its bytes are not those of {name}",
                f"gm.models.fetch({name!r}) sets it aside and fetches it again",
            )
    return folder


def looks_complete(entry: Entry) -> bool:
    """Whether all files are there, without reading them."""
    folder = entry_folder(entry)
    if entry.bundled:
        return folder.is_dir()
    return all((folder / file.name).is_file() for file in entry.files)


def is_valid(path: Path, file: RemoteFile) -> bool:
    """Whether a file is there with the right bytes.

    Raises
    ------
    CheckpointError
        If it is there and cannot be read, so that nobody can tell.
    """
    try:
        if not path.is_file() or file.size not in (None, path.stat().st_size):
            return False
        return sha256(path) == file.sha256
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror})", "correct its permissions or its disk"
        ) from None
