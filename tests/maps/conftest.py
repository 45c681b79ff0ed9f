"""A server of maps on loopback, and a cache of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from genemamba._files import sha256
from genemamba.models import _download, _registry


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and nothing registered before."""
    for name in ("GENEMAMBA_MIRROR", "GENEMAMBA_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("GENEMAMBA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(_registry, "_ENTRIES", dict(_registry._ENTRIES))
    monkeypatch.setattr(_download, "WAIT_S", 0.01)
    return tmp_path / "home"


@pytest.fixture
def serve() -> Iterator[Callable[[Path], dict[str, tuple[str, str]]]]:
    """Serve a folder over HTTP; give the address and hash of each of its files."""
    servers = []

    def start(folder: Path) -> dict[str, tuple[str, str]]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        at = f"http://127.0.0.1:{server.server_port}"
        return {f.name: (f"{at}/{f.name}", sha256(f)) for f in sorted(folder.iterdir())}

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
