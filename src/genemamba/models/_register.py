"""Name a checkpoint on a web server."""

from __future__ import annotations

from collections.abc import Mapping

from genemamba.errors import InputError
from genemamba.models._registry import GENEFORMER_V1, Entry, RemoteFile, add, without_secrets

WEIGHTS, CONFIG, GENES = "model.safetensors", "config.json", "genes.csv"


def register(
    name: str,
    url: str | Mapping[str, tuple[str, str]],
    sha256: str | None = None,
    *,
    parameters: int | None = None,
    vocabulary: str = "not stated",
    licence: str = "not stated",
) -> None:
    """Name a checkpoint on a web server, so that it can be fetched and loaded in this session.

    Nothing is downloaded. With ``config.json`` and ``genes.csv`` the checkpoint is in the layout of
    this package, otherwise in the published one; without ``genes.csv``, Geneformer V1's gene tables
    are added, which the published weights need.

    Parameters
    ----------
    name
        A new name of letters, digits, ``.``, ``_`` and ``-``.
    url
        Address of the weights (a safetensors file); or, for several files, each file's name with
        its address and sha256, among them ``model.safetensors``.
    sha256
        Hash of the weights, 64 hexadecimal digits, if `url` is one address.
    parameters, vocabulary, licence
        For the table of :func:`available`.

    Returns
    -------
    Nothing.

    Raises
    ------
    InputError
        If the name is taken or not plain, an address is not http or https, a sha256 is missing or
        malformed, or there is no ``model.safetensors``.

    Examples
    --------
    >>> import genemamba as gm
    >>> at = "https://lab.example.org/gut"
    >>> gm.models.register(
    ...     "gut",
    ...     {
    ...         "model.safetensors": (f"{at}/model.safetensors", "0" * 64),
    ...         "config.json": (f"{at}/config.json", "1" * 64),
    ...         "genes.csv": (f"{at}/genes.csv", "2" * 64),
    ...     },
    ...     licence="CC BY 4.0",
    ... )
    >>> "gut" in gm.models.available().index
    True
    """
    parts = dict(url) if isinstance(url, Mapping) else {WEIGHTS: (url, sha256 or "")}
    if isinstance(url, Mapping) and sha256 is not None:
        raise InputError("sha256 is given with a mapping", "give each file's in the mapping")
    files = remote_files(parts)
    if WEIGHTS not in parts:
        raise InputError(f"url has no {WEIGHTS}", f"call the file with the weights {WEIGHTS}")
    if GENES not in parts:
        files += [table for table in GENEFORMER_V1 if table.name not in parts]
    add(
        Entry(
            name=name,
            files=tuple(files),
            parameters=parameters,
            vocabulary=vocabulary,
            source=without_secrets(parts[WEIGHTS][0]),
            licence=licence,
            layout="genemamba" if {CONFIG, GENES} <= parts.keys() else "published",
        )
    )


def remote_files(parts: Mapping[str, tuple[str, str]]) -> list[RemoteFile]:
    """Check names, addresses and hashes of files."""
    files = []
    for file, pair in parts.items():
        match pair:
            case (str(address), str(digest)):
                files.append(RemoteFile(file, address, digest.lower()))
            case _:
                raise InputError(
                    f"url[{file!r}]={pair!r} is not (address, sha256)", "give both, as text"
                )
    return files
