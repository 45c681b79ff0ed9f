"""One file into a folder: whole and with the right bytes, or not at all.

pooch brings the bytes. Which file is kept is decided here, for pooch.retrieve would overwrite a
damaged file, and has no lock and no back-off.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import time
import warnings
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from genemamba.errors import CheckpointError, GeneMambaWarning
from genemamba.models._cache import is_valid
from genemamba.models._registry import RemoteFile, without_secrets

ATTEMPTS = 4
WAIT_S = 1.0  # before the second attempt; doubled before each later one
CONNECT_S, SILENCE_S = 10.0, 30.0  # longest wait for a connection; for the next bytes
PIECE = 2**20
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP answers that may change by themselves


def place(file: RemoteFile, folder: Path, *, source: Path | None = None) -> None:
    """Make sure that `folder` holds `file`, from a valid copy at `source` or from the network.

    A valid file is never touched. One that is damaged is renamed and kept.

    Raises
    ------
    CheckpointError
        If the file cannot be had, or cannot be written.
    """
    target = folder / file.name
    if is_valid(target, file):
        return
    if source is None and not os.path.lexists(target):
        _address(file)  # offline, a read-only folder is not the point
    from filelock import FileLock

    part = folder / f"{file.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if is_valid(target, file):  # another process was first
                return
            _set_aside(target)
            try:
                if source is None:
                    _download(file, part)
                else:
                    _copy(source, file, part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{target} cannot be written ({error.strerror or error})",
            "make room or correct the permissions, or set GENEMAMBA_HOME to another folder",
        ) from None


def _set_aside(path: Path) -> None:
    if not os.path.lexists(path):
        return
    names = (path.with_name(f"{path.name}.damaged-{n}") for n in itertools.count(1))
    aside = next(name for name in names if not os.path.lexists(name))
    path.rename(aside)
    warnings.warn(f"{path} is damaged; it is now called {aside.name}", GeneMambaWarning, 4)


def _copy(source: Path, file: RemoteFile, part: Path) -> None:
    shutil.copyfile(source, part)
    if not is_valid(part, file):
        raise CheckpointError(f"the copy of {source} is damaged", "try again")


def _download(file: RemoteFile, part: Path) -> None:
    import requests
    from pooch import HTTPDownloader

    url = _address(file)
    get = HTTPDownloader(
        chunk_size=PIECE,
        timeout=(CONNECT_S, SILENCE_S),
        headers={"Accept-Encoding": "identity"},  # the bytes themselves, so that sizes count
    )
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(WAIT_S * 2 ** (attempt - 1))
        try:
            with _Sink(part, file, url) as sink:
                get(url, sink, None)
                sink.finish()
            return
        except requests.RequestException as error:
            answer = getattr(error.response, "status_code", None)
            reason = str(error)
            if isinstance(error, ValueError) or (answer and answer not in _PASSING):
                break  # a bad address or a clear no: the next answer would be the same
        except EOFError as error:
            reason = str(error)
    for secret in (url, urlsplit(url).query):  # some of these messages hold the address
        reason = reason.replace(secret, "…") if secret else reason
    shown = without_secrets(url)
    raise CheckpointError(
        f"{file.name} cannot be fetched from {shown} (attempts: {attempt + 1}): {reason}",
        "check address and network; GENEMAMBA_MIRROR takes the address of a mirror",
    )


def _address(file: RemoteFile) -> str:
    """Give where to fetch a file from, with the user's mirror; refuse if the user is offline."""
    if os.environ.get("GENEMAMBA_OFFLINE", "").lower() not in ("", "0", "false", "no", "off"):
        raise CheckpointError(
            f"{file.name} is not on this machine, and GENEMAMBA_OFFLINE forbids the network",
            "gm.models.fetch(name, to=folder) where there is one, and copy the folder here",
        )
    mirror = os.environ.get("GENEMAMBA_MIRROR", "").rstrip("/")
    if not mirror:
        return file.url
    if not mirror.startswith(("http://", "https://")):
        shown = without_secrets(mirror)
        raise CheckpointError(
            f"GENEMAMBA_MIRROR={shown!r} is not an http or https address", "correct or unset it"
        )
    asked = urlsplit(file.url)
    return mirror + urlunsplit(("", "", asked.path, asked.query, ""))


class _Sink:
    """A file being written: counted and hashed as it comes, with a progress bar."""

    def __init__(self, part: Path, file: RemoteFile, url: str) -> None:
        from genemamba._progress import tqdm

        self.file, self.url = file, without_secrets(url)
        self.opened = part.open("wb")
        self.bytes = 0
        self.sha256 = hashlib.sha256()
        self.bar = tqdm(
            total=file.size, desc=file.name, unit="B", unit_scale=True, delay=1, leave=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        self.opened.close()

    def write(self, piece: bytes) -> None:
        """Take the next bytes; called by pooch."""
        self.bytes += len(piece)
        if self.file.size is not None and self.bytes > self.file.size:
            raise self._wrong(f"has more than {self.file.size} bytes")
        self.opened.write(piece)
        self.sha256.update(piece)
        self.bar.update(len(piece))

    def flush(self) -> None:
        """Do nothing; pooch calls it after every piece."""

    def finish(self) -> None:
        """Refuse what is too short or wrong, and bring the rest to the disk."""
        if self.file.size is not None and self.bytes < self.file.size:
            raise EOFError(f"only {self.bytes} of {self.file.size} bytes came")
        if self.sha256.hexdigest() != self.file.sha256:
            raise self._wrong(f"has sha256 {self.sha256.hexdigest()}, not {self.file.sha256}")
        self.opened.flush()
        os.fsync(self.opened.fileno())

    def _wrong(self, what: str) -> CheckpointError:
        return CheckpointError(
            f"{self.url} {what}; nothing was kept",
            "fetch it from elsewhere (GENEMAMBA_MIRROR): the file there is not the one expected",
        )
