"""Download a reference map."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from genemamba.models._fetch import fetch_entry
from genemamba.models._registry import require


def fetch(name: str, to: str | PathLike[str] | None = None) -> Path:
    """Download a reference map unless it is on disk, and return its folder.

    Files are checked, resumed and kept as those of checkpoints: see :func:`genemamba.models.fetch`.

    Parameters
    ----------
    name
        A name that :func:`available` lists.
    to
        Folder to write to; a map can be used by its path. Default: the cache (see
        ``GENEMAMBA_HOME``).

    Returns
    -------
    Folder with the files; for a map that comes with the package, its folder there.

    Raises
    ------
    CheckpointError
        If the name is unknown; or a file cannot be downloaded, has a wrong sha256, or cannot be
        written.
    InputError
        If `to` holds other files under these names.

    Examples
    --------
    >>> import genemamba as gm
    >>> gm.maps.fetch("genemamba-body").name
    'genemamba-body'
    """
    return fetch_entry(require(name, "map"), to)
