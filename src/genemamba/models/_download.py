"""One file into a folder: whole and with the right bytes, or not at all.

pooch downloads. Its ``retrieve`` would overwrite a damaged file, retry what cannot succeed, and has
no lock, so which file is kept is decided here.
"""

from __future__ import annotations

import io
import itertools
import os
import shutil
import time
import warnings
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from genemamba.errors import CheckpointError, GeneMambaWarning
from genemamba.models._registry import RemoteFile, without_secrets

WAIT_S = 1.0  # before the second attempt; doubled before each later one
ATTEMPTS = 4
CONNECT_S, SILENCE_S = 10.0, 30.0  # longest wait for a connection; for the next bytes
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP answers that may change by themselves


def place(file: RemoteFile, folder: Path, *, source: Path | None = None) -> None:
    """Make sure that `folder` holds `file`, from a valid copy at `source` or from the network.

    A valid file is never touched. A damaged one is renamed and kept.

    Raises
    ------
    CheckpointError
        If the file cannot be downloaded or written.
    """
    target = folder / file.name
    if file.is_valid(target):
        return
    if source is None and not os.path.lexists(target):
        _address(file)  # if offline, say so before anything else
    from filelock import FileLock

    part = folder / f"{file.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if file.is_valid(target):  # another process was first
                return
            _set_aside(target)
            try:
                if source is None:
                    _download(file, part)
                elif not file.is_valid(Path(shutil.copyfile(source, part))):
                    raise CheckpointError(f"the copy of {source} is damaged", "try again")
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{target} cannot be written ({error.strerror or error})",
            "free some space or correct the permissions, or set GENEMAMBA_HOME to another folder",
        ) from None


def _set_aside(path: Path) -> None:
    if not os.path.lexists(path):
        return
    names = (path.with_name(f"{path.name}.damaged-{n}") for n in itertools.count(1))
    aside = path.rename(next(name for name in names if not os.path.lexists(name)))
    warnings.warn(f"{path} is damaged; it is now called {aside.name}", GeneMambaWarning, 4)


def _download(file: RemoteFile, part: Path) -> None:
    import requests
    from pooch import HTTPDownloader

    from genemamba._progress import tqdm

    url = _address(file)
    get = HTTPDownloader(
        chunk_size=2**20,
        timeout=(CONNECT_S, SILENCE_S),
        headers={"Accept-Encoding": "identity"},  # no compression, so that sizes are those stated
    )
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(WAIT_S * 2 ** (attempt - 1))
        try:
            with (
                _Part(part, file) as opened,
                tqdm.wrapattr(
                    opened, "write", total=file.size, desc=file.name, delay=1, leave=False
                ) as shown,
            ):
                get(url, shown, None)
                opened.finish()
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
    raise CheckpointError(
        f"{file.name} cannot be fetched from {without_secrets(url)} "
        f"(attempts: {attempt + 1}): {reason}",
        "check address and network; GENEMAMBA_MIRROR takes the address of a mirror",
    )


def _address(file: RemoteFile) -> str:
    """Return where to fetch a file, from the user's mirror if there is one; raise if offline."""
    if os.environ.get("GENEMAMBA_OFFLINE", "").lower() not in ("", "0", "false", "no", "off"):
        raise CheckpointError(
            f"{file.name} is not on this machine, and GENEMAMBA_OFFLINE forbids the network",
            "gm.models.fetch(name, to=folder) on a machine with network, and copy the folder here",
        )
    mirror = os.environ.get("GENEMAMBA_MIRROR", "").rstrip("/")
    if not mirror:
        return file.url
    if not mirror.startswith(("http://", "https://")):
        raise CheckpointError(
            f"GENEMAMBA_MIRROR={without_secrets(mirror)!r} is not an http or https address",
            "correct or unset it",
        )
    return mirror + urlunsplit(("", "", *urlsplit(file.url)[2:4], ""))


class _Part(io.BufferedWriter):
    """The file while it is written; no longer than it should be."""

    def __init__(self, path: Path, file: RemoteFile) -> None:
        super().__init__(io.FileIO(path, "wb"))
        self.path, self.file = path, file

    def write(self, piece: bytes) -> int:  # type: ignore[override]
        """Take the next bytes from pooch."""
        if self.file.size is not None and self.tell() + len(piece) > self.file.size:
            raise self._wrong(f"has more than {self.file.size} bytes")
        return super().write(piece)

    def finish(self) -> None:
        """Bring the bytes to the disk, and check them."""
        from pooch import file_hash

        self.flush()
        os.fsync(self.fileno())
        if self.file.size is not None and self.tell() < self.file.size:
            raise EOFError(f"only {self.tell()} of {self.file.size} bytes came")
        if (digest := file_hash(self.path)) != self.file.sha256:
            raise self._wrong(f"has sha256 {digest}, not {self.file.sha256}")

    def _wrong(self, what: str) -> CheckpointError:
        return CheckpointError(
            f"{without_secrets(_address(self.file))} {what}; nothing was kept",
            "fetch it from elsewhere (GENEMAMBA_MIRROR): the file there is not the one expected",
        )
