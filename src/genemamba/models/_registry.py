"""The checkpoints and reference maps known by name, the files of each, and where they are."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from genemamba.errors import CheckpointError, InputError, MapError, shown

Holds = Literal["checkpoint", "map"]
_PART = {"checkpoint": "models", "map": "maps"}
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # one step of a path on every system
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """A file on a web server, known by its sha256."""

    name: str
    url: str
    sha256: str
    size: int | None = None

    def __post_init__(self) -> None:
        _require_plain("file", self.name)
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

    def is_valid(self, path: Path) -> bool:
        """Whether `path` exists with the right bytes; raise if it cannot be read."""
        try:
            if not path.is_file() or self.size not in (None, path.stat().st_size):
                return False
            with path.open("rb") as opened:
                return hashlib.file_digest(opened, "sha256").hexdigest() == self.sha256
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be read ({error.strerror})", "check its permissions and the disk"
            ) from None


@dataclass(frozen=True)
class Entry:
    """A checkpoint or a map with a name."""

    name: str
    files: tuple[RemoteFile, ...]
    parameters: int | None = None
    vocabulary: str = "not stated"
    source: str = "not stated"
    licence: str = "not stated"
    bundled: bool = False
    holds: Holds = "checkpoint"
    layout: Literal["genemamba", "published"] = "genemamba"
    weights_sha256: str | None = None
    """Of a bundled one, which has no `files`."""

    def __post_init__(self) -> None:
        _require_plain("name", self.name)

    @property
    def folder(self) -> Path:
        """Where it is or would be: in the package, or in the cache.

        The name carries a hash of its contents, so releases of one name never mix.
        """
        if self.bundled:
            return Path(str(files(f"genemamba.{_PART[self.holds]}") / "bundled" / self.name))
        contents = "".join(sorted(f"{file.name} {file.sha256}\n" for file in self.files))
        return _home() / f"{self.name}-{hashlib.sha256(contents.encode()).hexdigest()[:12]}"

    @property
    def provenance(self) -> dict[str, str]:
        """What a file in the published layout does not state."""
        if self.bundled:
            return {}
        return {"name": self.name, "source": self.source, "licence": self.licence}

    @property
    def complete(self) -> bool:
        """Whether all files exist; they are not read."""
        folder = self.folder
        return folder.is_dir() and all((folder / file.name).is_file() for file in self.files)


def _home() -> Path:
    if moved := os.environ.get("GENEMAMBA_HOME"):
        return Path(moved).expanduser().absolute()
    import pooch

    return Path(pooch.os_cache("genemamba"))


def without_secrets(url: str) -> str:
    """Return an address without user and query, which may hold a password or token."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _require_plain(what: str, name: str) -> None:
    """Reject names that could lead out of the folder they belong in."""
    if not isinstance(name, str) or not _PLAIN.fullmatch(name) or name.endswith("."):
        raise InputError(
            f"{what}={name!r} is not a plain name",
            "use letters, digits, '.', '_' and '-', beginning with a letter or digit",
        )


_ENTRIES: dict[str, Entry] = {}


def lookup(name: str, holds: Holds = "checkpoint") -> Entry | None:
    """Return the entry of that name, if there is one."""
    entry = _ENTRIES.get(name)
    return entry if entry is not None and entry.holds == holds else None


def require(name: str, holds: Holds = "checkpoint") -> Entry:
    """Return the entry of that name; the error suggests one."""
    if (entry := lookup(name, holds)) is not None:
        return entry
    raise CheckpointError(
        f"no {holds} is called {name!r}",
        f"gm.{_PART[holds]}.available() lists all, such as {nearest(name, holds)!r}",
    )


def no_map(name: str) -> MapError:
    """Return the error for what is neither the name of a map nor a folder."""
    return MapError(
        f"there is no map and no folder {shown(name)}",
        f"gm.maps.available() lists the names, such as {nearest(name, 'map')!r}; "
        "gm.tl.build_map makes a map of your own cells",
    )


def nearest(name: str, holds: Holds = "checkpoint") -> str:
    """Return the known name that is most like this one, or the first."""
    known = [entry.name for entry in entries(holds)]
    return (difflib.get_close_matches(str(name), known, n=1, cutoff=0.3) or known)[0]


def on_disk(name: str, holds: Holds = "checkpoint") -> Path | None:
    """Return the folder of a known entry if it is complete; reject damaged files."""
    entry = lookup(name, holds)
    if entry is None or not entry.complete:
        return None
    for file in entry.files:
        if not file.is_valid(path := entry.folder / file.name):
            raise CheckpointError(
                f"{path} is damaged: its bytes are not those of {name}",
                f"gm.{_PART[holds]}.fetch({name!r}) sets it aside and fetches it again",
            )
    return entry.folder


def entries(holds: Holds = "checkpoint") -> tuple[Entry, ...]:
    """Return all entries, those of the package first."""
    return tuple(entry for entry in _ENTRIES.values() if entry.holds == holds)


def add(entry: Entry) -> None:
    """Add an entry under a new name."""
    if entry.name.lower() in (name.lower() for name in _ENTRIES):  # the same folder on some systems
        raise InputError(f"name={entry.name!r} is taken", "choose another name")
    _ENTRIES[entry.name] = entry


_known = tomllib.loads((files("genemamba.models") / "registry.toml").read_text(encoding="utf-8"))
GENEFORMER_V1 = tuple(RemoteFile(**table) for table in _known["gene_tables"])
for _entry in (*_known["checkpoints"], *({**e, "holds": "map"} for e in _known["maps"])):
    _own = [RemoteFile(**file) for file in _entry.pop("files", ())]
    _tables = GENEFORMER_V1 if _entry.get("layout") == "published" else ()
    add(Entry(**_entry, files=(*_own, *_tables)))
