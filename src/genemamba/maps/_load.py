"""Open a reference map by name or path."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from genemamba.errors import InputError, MapError, shown
from genemamba.maps.reference_map import ReferenceMap
from genemamba.models._registry import lookup, no_map, on_disk

MapLike: TypeAlias = "str | PathLike[str] | ReferenceMap"


def load(reference_map: MapLike, *, verify: bool = False) -> ReferenceMap:
    """Open a reference map; its vectors stay on disk.

    Nothing is downloaded and no pickle is executed.

    Parameters
    ----------
    reference_map
        Name of a map that comes with the package (``"genemamba-body"``) or was fetched with
        ``gm.maps.fetch``; the folder of a map; or an open map, which is returned unchanged.
    verify
        Hash files of more than 64 MB, too; smaller ones always are.

    Returns
    -------
    ReferenceMap with ``.n_cells``, ``.columns``, ``.umap`` and ``.about`` (sources, model and
    sha256 of the files).

    Raises
    ------
    MapError
        If the name is unknown or not on disk, or a file is missing or damaged.
    InputError
        If it is neither a name, a path nor a map.

    Examples
    --------
    >>> import genemamba as gm
    >>> body = gm.maps.load("genemamba-body")
    >>> body.n_cells > 10_000
    True
    """
    if isinstance(reference_map, ReferenceMap):
        return reference_map
    if not isinstance(reference_map, (str, PathLike)):
        raise InputError(
            f"reference_map={shown(reference_map)} is a {type(reference_map).__name__}",
            "give the name of a map, its folder, or an open map",
        )
    name = str(reference_map)
    if lookup(name, "map") is not None:
        folder = on_disk(name, "map")
        if folder is None:
            raise MapError(f"the map {name!r} is not on disk", f"gm.maps.fetch({name!r})")
        return ReferenceMap.open(folder, whole=verify, name=name)
    folder = Path(os.path.expanduser(name))
    if not os.path.exists(folder):  # pathlib's would raise on names that no system can have
        raise no_map(name)
    return ReferenceMap.open(folder, whole=verify)
