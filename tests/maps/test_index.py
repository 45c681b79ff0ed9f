"""The index of neighbours: exact where small, the same bits always, refusals that name the file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genemamba.errors import InputError
from genemamba.maps import index as index_module
from genemamba.maps.index import VectorIndex

N_LARGE, WIDTH, K = 50_000, 32, 20


def made(n: int, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Vectors in some clusters, on axes of unequal width."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(40, width)) * np.geomspace(1, 0.1, width)
    X = centres[rng.integers(40, size=n)] + 0.3 * rng.normal(size=(n, width))
    return X.astype(np.float32)


def reader(X: np.ndarray) -> Callable[[int, int], np.ndarray]:
    return lambda start, stop: X[start:stop]


def exact(X: np.ndarray, Q: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    gaps = np.stack([np.sqrt(((X.astype(float) - q) ** 2).sum(1)) for q in Q]).astype(np.float32)
    order = np.argsort(gaps, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(gaps, order, 1)


def recall(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([np.isin(t, f).mean() for f, t in zip(found, true, strict=True)]))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> VectorIndex:
    folder = tmp_path_factory.mktemp("large") / "index"
    return VectorIndex.build(reader(made(N_LARGE)), N_LARGE, folder)


@pytest.mark.parametrize("n", [1, 7, 100, 3000])
def test_small_map_is_exact(n: int, tmp_path: Path) -> None:
    X, Q = made(n), made(30, seed=1)
    index = VectorIndex.build(reader(X), n, tmp_path / "index")
    found, distances = index.search(Q, K)
    kept = index.vectors(np.arange(n))
    true, away = exact(kept, Q, K)
    assert found.dtype == np.int64 and distances.dtype == np.float32
    assert found.shape == (30, min(K, n))
    np.testing.assert_array_equal(found, true)
    np.testing.assert_array_equal(distances, away)
    assert (np.abs(kept - X) <= np.ptp(X, axis=0) / 255 * 0.51 + 1e-6).all()  # 8 bits


def test_large_map_finds_neighbours(large: VectorIndex) -> None:
    Q, X = made(100, seed=1), made(N_LARGE)
    found, distances = large.search(Q, K)
    kept = large.vectors(np.arange(N_LARGE))
    true, away = exact(kept, Q, K)
    assert recall(found, true) > 0.99
    assert recall(found, exact(X, Q, K)[0]) > 0.9
    np.testing.assert_allclose(distances[:, 0], away[:, 0], rtol=1e-4)
    assert (np.diff(distances, axis=1) >= 0).all()


def test_distances_are_those_to_kept_vectors(large: VectorIndex) -> None:
    Q = made(5, seed=2)
    found, distances = large.search(Q, K)
    for q, own, away in zip(Q, found, distances, strict=True):
        np.testing.assert_allclose(np.linalg.norm(large.vectors(own) - q, axis=1), away, rtol=1e-4)


def test_more_neighbours_than_are_scanned(large: VectorIndex) -> None:
    found, _ = large.search(made(2, seed=3), N_LARGE + 5)
    assert found.shape == (2, N_LARGE)
    np.testing.assert_array_equal(np.sort(found, axis=1)[0], np.arange(N_LARGE))


@pytest.mark.parametrize("n", [2000, N_LARGE])
def test_alone_or_among_others(n: int, large: VectorIndex, tmp_path: Path) -> None:
    small = VectorIndex.build(reader(made(2000)), 2000, tmp_path / "index")
    index, Q = large if n == N_LARGE else small, made(70, seed=4)
    found, distances = index.search(Q, K)
    for i in range(len(Q)):
        own, away = index.search(Q[i : i + 1], K)
        assert own.tobytes() == found[i].tobytes()
        assert away.tobytes() == distances[i].tobytes()
    back, away = index.search(np.asfortranarray(Q[::-1].astype(float)), K)
    np.testing.assert_array_equal(back[::-1], found)
    np.testing.assert_array_equal(away[::-1], distances)


@pytest.mark.parametrize("n", [3000, N_LARGE])
def test_ties_by_position(n: int, tmp_path: Path) -> None:
    X = made(n)
    X[::100] = X[0]  # more equals than are looked for
    index = VectorIndex.build(reader(X), n, tmp_path / "index")
    np.testing.assert_array_equal(index.search(X[:1], K)[0][0], 100 * np.arange(K))


def test_one_thread_builds_the_same_bytes(
    large: VectorIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genemamba.maps._codes.cores", lambda: 1)
    again = VectorIndex.build(reader(made(N_LARGE)), N_LARGE, tmp_path / "index")
    assert contents(again.folder) == contents(large.folder)
    assert sorted(contents(again.folder)) == sorted(again.files)


KILLED = """
import os, sys
import numpy as np
from pathlib import Path
from genemamba.maps import index
X, index.BLOCK, calls = np.load(sys.argv[1]), 8192, [0]
def read(start, stop):
    calls[0] += 1
    if calls[0] > int(sys.argv[3]):
        os.kill(os.getpid(), 9)
    return X[start:stop]
index.VectorIndex.build(read, len(X), Path(sys.argv[2]))
"""


def test_killed_build_resumes_to_the_same_bytes(large: VectorIndex, tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", made(N_LARGE))
    out = tmp_path / "index"
    for calls in (4, 11, 3):  # in the sample, then among the blocks, twice
        command = [sys.executable, "-c", KILLED, str(tmp_path / "X.npy"), str(out), str(calls)]
        assert subprocess.run(command).returncode == -9
        assert not (out / index_module.ABOUT).exists()
    command[-1] = "100"
    assert subprocess.run(command).returncode == 0
    assert contents(out) == contents(large.folder)


def test_other_settings_do_not_resume(tmp_path: Path) -> None:
    X = made(50)
    VectorIndex.build(reader(X), 50, tmp_path / "index")
    VectorIndex.build(reader(X), 50, tmp_path / "index")
    with pytest.raises(InputError, match="seed was 0, is 1"):
        VectorIndex.build(reader(X), 50, tmp_path / "index", seed=1)


def test_open_maps_instead_of_reading(large: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = VectorIndex.open(large.folder)
    for array in opened._arrays.values():
        assert isinstance(array.base, np.memmap) and not array.flags.writeable
    Q = made(3, seed=5)
    for a, b in zip(opened.search(Q, K), large.search(Q, K), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_pickles(large: VectorIndex) -> None:
    for file in large.folder.glob("*.npy"):
        assert np.load(file, allow_pickle=False).dtype.kind in "fiu"


@pytest.mark.parametrize("change", ["short", "long", "empty", "gone", "pickle", "shape"])
@pytest.mark.parametrize("n", [100, N_LARGE])
def test_damage_names_the_file(n: int, change: str, large: VectorIndex, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    if n == N_LARGE:
        shutil.copytree(large.folder, folder)
    else:
        VectorIndex.build(reader(made(n)), n, folder)
    for name in VectorIndex.open(folder).files:
        file = folder / name
        whole = file.read_bytes()
        if change == "gone":
            file.unlink()
        elif change == "pickle":
            np.save(file.with_suffix(".npy"), np.array([{}], dtype=object), allow_pickle=True)
            file.with_suffix(".npy").replace(file)
        elif change == "shape":
            with file.open("wb") as out:
                np.save(out, np.zeros(3, np.float32))
        else:
            changed = {"short": whole[:-5], "long": whole + b"12345", "empty": b""}
            file.write_bytes(changed[change])
        with pytest.raises(InputError, match=file.name):
            VectorIndex.open(folder)
        file.write_bytes(whole)
    VectorIndex.open(folder)


def test_lists_that_do_not_fit_are_refused(large: VectorIndex, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    shutil.copytree(large.folder, folder)
    starts = np.load(folder / "starts.npy")
    starts[3] = N_LARGE + 1
    np.save(folder / "starts.npy", starts)
    with pytest.raises(InputError, match=r"starts\.npy is damaged"):
        VectorIndex.open(folder)


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    index = VectorIndex.build(reader(made(5)), 5, tmp_path / "index")
    about = json.loads((index.folder / "index.json").read_text())
    (index.folder / "index.json").write_text(json.dumps(about | {"format": 2}))
    with pytest.raises(InputError, match=r"index\.json has format 2"):
        VectorIndex.open(index.folder)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad: float, tmp_path: Path) -> None:
    X = made(50)
    index = VectorIndex.build(reader(X), 50, tmp_path / "index")
    X[7, 3] = bad
    with pytest.raises(InputError, match="NaN or infinity"):
        index.search(X, 3)
    with pytest.raises(InputError, match="NaN or infinity"):
        VectorIndex.build(reader(X), 50, tmp_path / "other")
    with pytest.raises(InputError, match="rows of 32 numbers"):
        index.search(X[:, :5], 3)
    with pytest.raises(InputError, match="from 0 to 49"):
        index.vectors(np.array([50]))


def test_equal_and_narrow_vectors(tmp_path: Path) -> None:
    n = index_module.EXACT_UP_TO + 1
    same = np.ones((n, 3), np.float32)
    index = VectorIndex.build(reader(same), n, tmp_path / "same")
    found, distances = index.search(same[:1], 5)
    np.testing.assert_array_equal(found[0], np.arange(5))
    np.testing.assert_allclose(distances, 0, atol=1e-3)
    found, _ = index.search(np.full((1, 3), 1e25, np.float32), 5)
    assert ((found >= 0) & (found < n)).all()
    with pytest.raises(InputError, match="too long"):
        VectorIndex.build(reader(made(n, 4) * np.float32(1e12)), n, tmp_path / "huge")
