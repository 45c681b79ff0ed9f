"""Name a reference map on a web server."""

from __future__ import annotations

from collections.abc import Mapping

from genemamba.errors import InputError, shown
from genemamba.maps.reference_map import MANIFEST
from genemamba.models._register import remote_files
from genemamba.models._registry import Entry, add, without_secrets


def register(name: str, url: Mapping[str, tuple[str, str]], *, licence: str = "not stated") -> None:
    """Name a reference map on a web server, so that it can be fetched and used in this session.

    Nothing is downloaded.

    Parameters
    ----------
    name
        A new name of letters, digits, ``.``, ``_`` and ``-``.
    url
        Of every file of the map, by name, its address and sha256. ``map.json``, in the folder that
        :func:`genemamba.tl.build_map` wrote, lists the others with their sha256.
    licence
        For the table of :func:`available`.

    Returns
    -------
    Nothing.

    Raises
    ------
    InputError
        If the name is taken or not plain, an address is not http or https, a sha256 is missing or
        malformed, or there is no ``map.json``.

    Examples
    --------
    >>> import genemamba as gm
    >>> at = "https://lab.example.org/gut"
    >>> gm.maps.register(
    ...     "gut-map",
    ...     {
    ...         "map.json": (f"{at}/map.json", "0" * 64),
    ...         "cells.safetensors": (f"{at}/cells.safetensors", "1" * 64),
    ...         "space.safetensors": (f"{at}/space.safetensors", "2" * 64),
    ...     },
    ...     licence="CC BY 4.0",
    ... )
    >>> "gut-map" in gm.maps.available().index
    True
    """
    if not isinstance(url, Mapping):
        raise InputError(
            f"url={shown(url)} is no mapping", "give each file's name with its address and sha256"
        )
    if MANIFEST not in url:
        raise InputError(f"url has no {MANIFEST}", "give every file of the map's folder")
    files = remote_files(url)
    source = without_secrets(url[MANIFEST][0])
    add(Entry(name=name, files=tuple(files), source=source, licence=licence, holds="map"))
