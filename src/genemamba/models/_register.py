"""Give a checkpoint of one's own a name."""

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
    """Give a checkpoint on a web server a name that fetch and load know, until Python ends.

    Nothing is downloaded. With ``config.json`` and ``genes.csv`` the checkpoint is in the layout of
    this package, otherwise in the published one; if that comes without ``genes.csv``, Geneformer
    V1's gene tables are added, as the published weights need them.

    Parameters
    ----------
    name
        A free name of letters, digits, ``.``, ``_`` and ``-``.
    url
        Address of the weights (a safetensors file); or, for several files, each file's name with
        its address and sha256, among them ``model.safetensors``.
    sha256
        Hash of the weights, 64 hexadecimal digits, if `url` is one address.
    parameters, vocabulary, licence
        What :func:`available` is to show.

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
    if isinstance(url, Mapping):
        if sha256 is not None:
            raise InputError("sha256 is given beside a mapping", "give each file's in the mapping")
        parts = dict(url)
    else:
        parts = {WEIGHTS: (url, sha256 or "")}
    files = [RemoteFile(n, *_pair(n, pair)) for n, pair in parts.items()]
    if WEIGHTS not in parts:
        raise InputError(f"url has no {WEIGHTS}", "name the file with the weights so")
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


def _pair(name: str, pair: object) -> tuple[str, str]:
    match pair:
        case (str(url), str(sha256)):
            return url, sha256.lower()
    raise InputError(f"url[{name!r}]={pair!r} is not (address, sha256)", "give both, as text")
