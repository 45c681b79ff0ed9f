"""Fetching from a real HTTP server on loopback that misbehaves as servers and networks do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genemamba as gm
from genemamba.errors import CheckpointError, GeneMambaWarning, InputError
from genemamba.models import _download, _registry
from genemamba.models._registry import Entry, on_disk
from genemamba.network import GeneMamba

pytestmark = pytest.mark.usefixtures("home")

# On a loaded machine a new process needs seconds to import what downloads.
CHILD = """
import sys
import genemamba as gm
from genemamba.models import _download
import filelock, pooch, requests, tqdm.auto
_download.WAIT_S = 0.01
if len(sys.argv) > 4:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
at, weights, genes = sys.argv[1:4]
gm.models.register("lab", {"model.safetensors": (at + "/model.safetensors", weights),
                           "genes.csv": (at + "/genes.csv", genes)})
print("ready", flush=True)
print(gm.models.fetch("lab"))
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"} if folder.exists() else set()


def sized(server: Any, size: int) -> None:
    """Register "sized", one file whose size is known beforehand."""
    files = (server.remote("model.safetensors", size),)
    _registry.add(Entry("sized", files, None, "", "", ""))


def child(server: Any, *more: str) -> subprocess.Popen[str]:
    hashes = [server.remote(name).sha256 for name in ("model.safetensors", "genes.csv")]
    command = [sys.executable, "-c", CHILD, server.url, *hashes, *more]
    return subprocess.Popen(command, stdout=-1, stderr=-1, text=True)


def wait_for(true: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_first_fetch_then_no_server_is_needed(server: Any, lab: Path) -> None:
    assert on_disk("lab") is None
    assert not gm.models.available().loc["lab", "on_disk"]
    assert gm.models.fetch("lab") == lab
    assert (lab / "model.safetensors").read_bytes() == server.WEIGHTS
    assert names(lab) == {"model.safetensors", "genes.csv"}
    server.stop()
    assert gm.models.fetch("lab") == on_disk("lab") == lab
    assert gm.models.available().loc["lab", "on_disk"]
    assert server.asked == {"/model.safetensors": 1, "/genes.csv": 1}


def test_a_fetched_checkpoint_loads(server: Any, small_model: GeneMamba, tmp_path: Path) -> None:
    small_model.save_pretrained(tmp_path / "made")
    made = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    server.files = {f"/{name}": body for name, body in made.items()}
    files = [server.remote(name) for name in made]
    gm.models.register("mine", {file.name: (file.url, file.sha256) for file in files})
    with pytest.raises(CheckpointError, match=r"gm\.models\.fetch\(.mine.\)"):
        gm.models.load("mine")
    assert not server.asked
    folder = gm.models.fetch("mine")
    assert gm.models.load(folder).vocab.sha256 == small_model.vocab.sha256
    assert gm.models.load("mine").config == small_model.config


@pytest.mark.parametrize("answer", ["cut", "truncated", "busy", "paused"])
def test_what_passes_is_tried_again(
    server: Any, lab: Path, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if answer == "truncated":
        sized(server, len(server.WEIGHTS))
    if answer == "paused":
        monkeypatch.setattr(_download, "SILENCE_S", 0.2)
    server.answers = [answer, answer]
    folder = gm.models.fetch("sized" if answer == "truncated" else "lab")
    assert (folder / "model.safetensors").read_bytes() == server.WEIGHTS
    assert server.asked["/model.safetensors"] == 3
    assert not [name for name in names(folder) if "part" in name or "damaged" in name]


@pytest.mark.parametrize(
    ("answer", "tries", "said"),
    [
        ("cut", 4, r"\(attempts: 4\)"),
        ("paused", 4, "[Tt]imed out"),
        ("busy", 4, "503"),
        ("gone", 1, r"\(attempts: 1\): 404"),
        ("changed", 1, "has sha256 [0-9a-f]{64}, not [0-9a-f]{64}"),
        ("truncated", 1, "has sha256"),
    ],
)
def test_what_stays_wrong_is_an_error_and_leaves_nothing(
    server: Any,
    lab: Path,
    answer: str,
    tries: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if answer == "paused":
        monkeypatch.setattr(_download, "SILENCE_S", 0.2)
    server.answers = [answer] * 9
    with pytest.raises(CheckpointError, match=said) as error:
        gm.models.fetch("lab")
    assert f"{server.url}/model.safetensors" in str(error.value)
    assert "Fix:" in str(error.value)
    assert server.asked["/model.safetensors"] == tries
    assert not names(lab)
    assert on_disk("lab") is None


def test_waits_grow(server: Any, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(_download.time, "sleep", waits.append)
    monkeypatch.setattr(_download, "WAIT_S", 1.0)
    server.answers = ["busy"] * 3
    gm.models.fetch("lab")
    assert waits == [1, 2, 4]


def test_no_server_at_all(server: Any, lab: Path) -> None:
    server.stop()
    with pytest.raises(CheckpointError, match=r"refused(.|\n)*GENEMAMBA_MIRROR"):
        gm.models.fetch("lab")
    assert not names(lab)


def test_an_endless_body_ends_at_the_known_size(server: Any) -> None:
    sized(server, 1000)
    server.answers = ["endless"]
    with pytest.raises(CheckpointError, match="more than 1000 bytes"):
        gm.models.fetch("sized")
    assert not names(_registry.require("sized").folder)


def test_redirects_are_followed(server: Any, lab: Path) -> None:
    server.answers = ["redirect"]
    assert (gm.models.fetch("lab") / "model.safetensors").read_bytes() == server.WEIGHTS
    assert server.asked["/elsewhere"] == 1


def test_a_damaged_file_is_set_aside_and_fetched_again(server: Any, lab: Path) -> None:
    gm.models.fetch("lab")
    for n, damage in enumerate([server.WEIGHTS[:-1], b"?" + server.WEIGHTS[1:]], start=1):
        (lab / "model.safetensors").write_bytes(damage)
        with pytest.raises(CheckpointError, match=r"is damaged(.|\n)*fetch\('lab'\)"):
            on_disk("lab")
        with pytest.warns(GeneMambaWarning, match=f"damaged-{n}"):
            gm.models.fetch("lab")
        assert (lab / "model.safetensors").read_bytes() == server.WEIGHTS
        assert (lab / f"model.safetensors.damaged-{n}").read_bytes() == damage
    assert server.asked == {"/model.safetensors": 3, "/genes.csv": 1}


@pytest.mark.parametrize("offline", [False, True])
def test_without_network_the_damaged_goes_and_the_valid_stays(
    server: Any, lab: Path, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gm.models.fetch("lab")
    server.stop()
    if offline:
        monkeypatch.setenv("GENEMAMBA_OFFLINE", "1")
    (lab / "model.safetensors").write_bytes(b"damaged")
    with (
        pytest.warns(GeneMambaWarning, match="damaged"),
        pytest.raises(CheckpointError, match="GENEMAMBA_OFFLINE" if offline else "refused"),
    ):
        gm.models.fetch("lab")
    assert names(lab) == {"model.safetensors.damaged-1", "genes.csv"}
    assert (lab / "genes.csv").read_bytes() == server.GENES
    assert on_disk("lab") is None


def test_offline(
    server: Any, lab: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENEMAMBA_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=r"GENEMAMBA_OFFLINE forbids(.|\n)*to=folder"):
        gm.models.fetch("lab")
    assert not server.asked
    assert not home.exists()
    monkeypatch.setenv("GENEMAMBA_OFFLINE", "0")
    gm.models.fetch("lab")
    monkeypatch.setenv("GENEMAMBA_OFFLINE", "1")
    assert gm.models.fetch("lab") == lab
    assert names(gm.models.fetch("lab", tmp_path / "out")) == {"model.safetensors", "genes.csv"}


def test_mirror(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, genes = server.remote("model.safetensors"), server.remote("genes.csv")
    asked = "https://hub.invalid:8443/a/b/model.safetensors?download=true"
    files = {
        "model.safetensors": (asked, weights.sha256),
        "genes.csv": ("https://other.invalid/genes.csv", genes.sha256),
    }
    gm.models.register("far", files)
    monkeypatch.setenv("GENEMAMBA_MIRROR", "ftp://mirror")
    with pytest.raises(CheckpointError, match="GENEMAMBA_MIRROR='ftp://mirror' is not"):
        gm.models.fetch("far")
    monkeypatch.setenv("GENEMAMBA_MIRROR", f"{server.url}/hub/")
    server.files = {
        "/hub/a/b/model.safetensors?download=true": server.WEIGHTS,
        "/hub/genes.csv": server.GENES,
    }
    assert names(gm.models.fetch("far")) == {"model.safetensors", "genes.csv"}
    assert server.asked.keys() == server.files.keys()


@pytest.mark.parametrize("server_is", ["without it", "wrong", "away"])
def test_passwords_and_tokens_are_not_shown(server: Any, server_is: str) -> None:
    place = f"127.0.0.1:{server.server_port}/model.safetensors?token=sesame"
    genes = server.remote("genes.csv")
    files = {
        "model.safetensors": (f"http://user:sesame@{place}", "0" * 64),
        "genes.csv": (genes.url, genes.sha256),
    }
    gm.models.register("private", files)
    assert "sesame" not in _registry.require("private").source
    if server_is == "wrong":
        server.files["/model.safetensors?token=sesame"] = server.WEIGHTS
    if server_is == "away":
        server.stop()
    with pytest.raises(CheckpointError, match=r"model\.safetensors") as error:
        gm.models.fetch("private")
    assert "sesame" not in str(error.value)
    with pytest.raises(InputError) as refused:
        gm.models.register("other", "ftp://user:sesame@host/file", sha256="0" * 64)
    assert "sesame" not in str(refused.value)


def test_two_processes_fetch_once(server: Any, lab: Path) -> None:
    server.answers = ["paused"]
    processes = [child(server), child(server)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    wait_for(lambda: server.asked)
    time.sleep(0.3)  # the other now waits for the lock
    server.go_on.set()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out == f"{lab}\n"
    assert server.asked == {"/model.safetensors": 1, "/genes.csv": 1}
    assert on_disk("lab") == lab


def test_killed_in_mid_download(server: Any, lab: Path) -> None:
    server.answers = ["paused"]
    process = child(server)
    part = lab / "model.safetensors.part"
    wait_for(lambda: part.exists() and part.stat().st_size)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    process.communicate()
    assert names(lab) == {"model.safetensors.part"}
    assert 0 < part.stat().st_size < len(server.WEIGHTS)
    assert on_disk("lab") is None
    assert gm.models.fetch("lab") == on_disk("lab")
    assert names(lab) == {"model.safetensors", "genes.csv"}


def test_a_file_that_may_not_grow(server: Any, lab: Path) -> None:
    process = child(server, "at most 1 MiB")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot be written (File too large)" in err
    assert not names(lab)


def test_disk_full(server: Any, lab: Path, home: Path) -> None:
    home.mkdir()
    mount("-t", "tmpfs", "-o", "size=2m", "none", home)
    try:
        with pytest.raises(CheckpointError, match=r"No space left(.|\n)*GENEMAMBA_HOME"):
            gm.models.fetch("lab")
        assert not names(lab)
        assert shutil.disk_usage(home).used < 10_000
        assert server.asked["/model.safetensors"] == 1
    finally:
        subprocess.run(["umount", home], check=True)


def test_read_only_cache(server: Any, lab: Path, home: Path) -> None:
    gm.models.fetch("lab")
    before = {path.name: path.stat() for path in lab.iterdir()}
    mount("--bind", home, home)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", home], check=True)
        assert gm.models.fetch("lab") == on_disk("lab") == lab
        assert before == {path.name: path.stat() for path in lab.iterdir()}
        genes = server.remote("genes.csv")
        files = {"model.safetensors": (f"{server.url}/new", "0" * 64),
                 "genes.csv": (genes.url, genes.sha256)}  # fmt: skip
        gm.models.register("new", files)
        with pytest.raises(CheckpointError, match=r"Read-only file system(.|\n)*GENEMAMBA_HOME"):
            gm.models.fetch("new")
        assert "/new" not in server.asked
    finally:
        subprocess.run(["umount", home], check=True)


def test_a_cache_that_cannot_be_made(lab: Path, home: Path) -> None:
    home.write_text("a file")  # holds for root, too
    with pytest.raises(CheckpointError, match=r"cannot be written(.|\n)*GENEMAMBA_HOME"):
        gm.models.fetch("lab")
    assert home.read_text() == "a file"


def test_to_a_folder(server: Any, lab: Path, tmp_path: Path) -> None:
    out = gm.models.fetch("lab", tmp_path / "out")
    assert names(out) == {"model.safetensors", "genes.csv"}
    assert not lab.exists()
    assert gm.models.fetch("lab", str(out)) == out
    assert server.asked == {"/model.safetensors": 1, "/genes.csv": 1}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "genes.csv").write_text("mine")
    with pytest.raises(InputError, match=r"holds another genes\.csv"):
        gm.models.fetch("lab", tmp_path / "own")
    assert names(tmp_path / "own") == {"genes.csv"}


def test_the_bundled_one_is_where_it_is(tmp_path: Path) -> None:
    folder = gm.models.fetch("genemamba-mini")
    assert names(gm.models.fetch("genemamba-mini", tmp_path / "out")) == names(folder)
    (tmp_path / "out" / "config.json").write_text("mine")
    with pytest.raises(InputError, match=r"holds another config\.json"):
        gm.models.fetch("genemamba-mini", tmp_path / "out")


def test_an_unknown_name() -> None:
    with pytest.raises(CheckpointError, match=r"'genemamba-mni'(.|\n)*such as 'genemamba-mini'"):
        gm.models.fetch("genemamba-mni")


def test_import_makes_nothing_and_connects_to_nothing(home: Path) -> None:
    code = """
import socket
def refuse(*_):
    raise SystemExit("a connection")
socket.socket.connect = socket.getaddrinfo = refuse
import genemamba as gm
gm.models.info("genemamba-24l-512d"), gm.models.available()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not home.exists()


def mount(*arguments: str | Path) -> None:
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can mount a file system for this test")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this root may not mount: {done.stderr.strip()}")
