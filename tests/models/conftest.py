"""A checkpoint in the published layout; a cache; a server that misbehaves as real ones do."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import genemamba as gm
from genemamba.models import _download, _registry
from genemamba.models._registry import RemoteFile
from genemamba.network import GeneMamba
from genemamba.tokens import Vocabulary

OF_V_ROWS = ("embeddings.weight", "lm_head.weight", "lm_head.bias")


def write_tables(vocab: Vocabulary, folder: Path) -> None:
    """Write a vocabulary as Geneformer's three pickles, numpy scalars included."""
    genes = vocab.ensembl_id.tolist()
    tables = {
        "token_dictionary": {"<pad>": 0, "<mask>": 1}
        | {gene: np.int16(token) for token, gene in enumerate(genes, start=2)},
        "gene_median_dictionary": dict(zip(genes, vocab.median, strict=True)),
        "gene_name_id_dict": dict(zip(vocab.symbol.tolist(), genes, strict=True)),
    }
    for name, table in tables.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(table, protocol=4))


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., Path]:
    """Write a model in the published layout: without special tokens beyond the genes."""

    def write(model: GeneMamba, name: str = "published", **more: torch.Tensor) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        rows = 2 + model.vocab.n_genes
        tensors = {
            key: t[:rows].clone() if key in OF_V_ROWS else t.clone()
            for key, t in model.state_dict().items()
            if ".merge." not in key
        }
        save_file(tensors | more, folder / "model.safetensors", metadata={"format": "pt"})
        write_tables(model.vocab, folder)
        return folder

    return write


@pytest.fixture
def published(publish: Callable[..., Path], small_model: GeneMamba) -> Path:
    """Folder in the published layout with the weights of `small_model`."""
    return publish(small_model)


class Server(ThreadingHTTPServer):
    """Serves `files`; about the weights it gives `answers` first."""

    WEIGHTS = np.random.default_rng(0).bytes(3 << 20)
    GENES = b"ensembl_id,symbol,median,alias\n"
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = {"/model.safetensors": self.WEIGHTS, "/genes.csv": self.GENES}
        self.answers: list[str] = []
        self.asked: Counter[str] = Counter()
        self.go_on = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def remote(self, name: str, size: int | None = None) -> RemoteFile:
        """Describe a file that is served here."""
        digest = hashlib.sha256(self.files[f"/{name}"]).hexdigest()
        return RemoteFile(name, f"{self.url}/{name}", digest, size)

    def stop(self) -> None:
        self.go_on.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One way to answer per method, most of them wrong."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        weights = self.path == "/model.safetensors"
        answer = self.server.answers.pop(0) if weights and self.server.answers else "whole"
        getattr(self, answer)(self.server.files.get(self.path))

    def whole(self, body: bytes | None) -> None:
        if body is None:
            self.send_error(404)
            return
        self.head(len(body))
        self.wfile.write(body)

    def cut(self, body: bytes) -> None:
        self.head(len(body))
        self.wfile.write(body[: len(body) // 2])

    def truncated(self, body: bytes) -> None:
        self.head(None)  # only the size or the hash can tell
        self.wfile.write(body[: len(body) // 2])

    def changed(self, body: bytes) -> None:
        self.whole(body[:-1] + b"?")

    def endless(self, body: bytes) -> None:
        self.head(None)
        while True:
            self.wfile.write(body)

    def paused(self, body: bytes) -> None:
        self.cut(body)
        self.server.go_on.wait(30)
        self.wfile.write(body[len(body) // 2 :])

    def redirect(self, body: bytes) -> None:
        self.send_response(302)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.server.files["/elsewhere"] = body

    def gone(self, body: bytes) -> None:
        self.send_error(404)

    def busy(self, body: bytes) -> None:
        self.send_error(503)

    def head(self, length: int | None) -> None:
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client has gone, as it should
            super().handle()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    """HTTP server on loopback."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, short waits, and nothing registered before."""
    for name in ("GENEMAMBA_MIRROR", "GENEMAMBA_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("GENEMAMBA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(_registry, "_ENTRIES", dict(_registry._ENTRIES))
    monkeypatch.setattr(_download, "WAIT_S", 0.01)
    monkeypatch.setattr(_download, "SILENCE_S", 5.0)
    return tmp_path / "home"


@pytest.fixture
def lab(server: Server, home: Path) -> Path:
    """Register "lab", two files; give the folder where they will be."""
    files = [server.remote(name) for name in ("model.safetensors", "genes.csv")]
    gm.models.register("lab", {file.name: (file.url, file.sha256) for file in files})
    return _registry.require("lab").folder
