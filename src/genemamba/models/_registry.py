"""Which checkpoints are known by name, and which files each is made of."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from genemamba.errors import CheckpointError, InputError

Layout = Literal["genemamba", "published"]

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # one step of a path on every system
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """A file that is worth nothing unless its bytes have this sha256."""

    name: str
    url: str
    sha256: str
    size: int | None = None

    def __post_init__(self) -> None:
        require_plain("file", self.name)
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                f"url={without_secrets(self.url)!r} of {self.name} is not an http or https address",
                "give the full address; a file on disk needs none: gm.models.load(path)",
            )
        if not _SHA256.fullmatch(self.sha256):
            raise InputError(
                f"sha256={self.sha256!r} of {self.name} is not 64 hexadecimal digits",
                "take it from the publisher, or from `sha256sum` of a copy you trust",
            )


@dataclass(frozen=True)
class Entry:
    """A checkpoint with a name.

    `files` is empty for one inside the package; `parameters` is None where only the file knows.
    """

    name: str
    files: tuple[RemoteFile, ...]
    parameters: int | None
    vocabulary: str
    source: str
    licence: str
    bundled: bool = False
    layout: Layout = "genemamba"
    weights_sha256: str | None = None
    """Of a bundled one; those of others stand with their files."""

    def __post_init__(self) -> None:
        require_plain("name", self.name)


def without_secrets(url: str) -> str:
    """Return an address without what may be a password or token: its user and its query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def require_plain(what: str, name: str) -> None:
    """Refuse names that could lead out of the folder they belong in."""
    if not _PLAIN.fullmatch(name) or name.endswith("."):
        raise InputError(
            f"{what}={name!r} is not a plain name",
            "use letters, digits, '.', '_' and '-', beginning with a letter or digit",
        )


_HUB = "https://huggingface.co"
# Address, sizes and hashes of these three stand in several public records of this revision, and
# they are the hashes of copies at hand; nothing was fetched from here to check them.
_GENEFORMER = (
    f"{_HUB}/ctheodoris/Geneformer/resolve/04c2b2e84da7c0f385c3f9ad8f3ec24bab6650e5"
    "/geneformer/gene_dictionaries_30m"
)
GENEFORMER_V1 = (
    RemoteFile(
        "token_dictionary.pkl",
        f"{_GENEFORMER}/token_dictionary_gc30M.pkl",
        "ab9dc40973fa5224d77b793e2fd114cacf3d08423ed9c4c49caf0ba9c7f218f1",
        788_424,
    ),
    RemoteFile(
        "gene_median_dictionary.pkl",
        f"{_GENEFORMER}/gene_median_dictionary_gc30M.pkl",
        "b3b589bb5ec75040d05fc44dd6bf0184cf87f3c362cf158d196a6ed3b7fe5f39",
        940_965,
    ),
    RemoteFile(
        "gene_name_id_dict.pkl",
        f"{_GENEFORMER}/gene_name_id_dict_gc30M.pkl",
        "55e67962e79c0039a6c32d43c5c99f38e51964bbcfa32f736150ee1e285c438c",
        1_117_117,
    ),
)
"""Gene tables of the published layout: tokens, medians, symbols."""

_ENTRIES: dict[str, Entry] = {}


def lookup(name: str) -> Entry | None:
    """Give the entry of that name, if there is one."""
    return _ENTRIES.get(name)


def require(name: str) -> Entry:
    """Give the entry of that name, or say which there are."""
    if (entry := lookup(name)) is not None:
        return entry
    near = difflib.get_close_matches(name, _ENTRIES, n=1, cutoff=0.3)
    raise CheckpointError(
        f"no checkpoint is called {name!r}",
        (f"{near[0]!r} is one; " if near else "") + "gm.models.available() lists all",
    )


def entries() -> tuple[Entry, ...]:
    """Give all entries, those of the package first."""
    return tuple(_ENTRIES.values())


def add(entry: Entry) -> None:
    """Add an entry under a name that is free."""
    if entry.name.lower() in (name.lower() for name in _ENTRIES):  # one folder on some systems
        raise InputError(f"name={entry.name!r} is taken", "choose another name")
    _ENTRIES[entry.name] = entry


add(
    Entry(
        name="genemamba-mini",
        files=(),
        parameters=None,
        vocabulary="human, Ensembl ids and symbols",
        source="in the package",
        licence="as the package (BSD-3-Clause)",
        bundled=True,
        weights_sha256="ee5400fd257cd3b6121df9b7382994607921599573f9bc259228c207321547c0",
    )
)
add(
    Entry(
        name="genemamba-24l-512d",
        files=(
            RemoteFile(
                "model.safetensors",
                f"{_HUB}/mineself2016/GeneMamba/resolve"
                "/dac10b05b4834fdb7a2fddbf47eec6acf6e9aee4/model.safetensors",
                "ccb1fcb0ee4b3ea2013099b9b187455e160d3b66b76c606715231b70b13c2784",
                262_998_656,
            ),
            *GENEFORMER_V1,
        ),
        parameters=65_744_338,
        vocabulary="25,424 human genes of Geneformer V1",
        source=f"{_HUB}/mineself2016/GeneMamba",
        licence=(
            "weights: no reuse licence is confirmed; not part of this package, fetched only when "
            "you ask for them; do not pass them on. Geneformer's gene tables: Apache-2.0"
        ),
        layout="published",
    )
)
