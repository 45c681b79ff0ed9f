"""Are the neighbours of a cell found among ten million, in little time, memory and room?

    python benchmarks index --vectors 10000000 --embeddings FOLDER

Vectors are real embeddings (the arrays X of FOLDER/*.npz) with Gaussian noise, for each set as long
as the median distance to the nearest neighbour in it, equal in all directions: the hardest case
for short codes. They are made block by block from a seed and never stored.

build      gm.maps.index.VectorIndex.build in a process of its own: time, peak memory (mapped files
           included), size on disk
open       and its first search, in a process of its own, after the code was compiled
search     milliseconds for one cell alone, and per cell of a thousand, 50 neighbours each
recall     of 50 neighbours of 200 other cells made the same way, against exact search of the
           vectors as kept and of the full ones; and whether one cell alone finds the same bits
The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genemamba.maps.index import VectorIndex

BLOCK = 1 << 16
K = 50


class Made:
    """Real embeddings with noise, made block by block."""

    def __init__(self, folder: Path, seed: int = 7) -> None:
        files = sorted(folder.glob("*.npz"))
        sets = [np.load(file)["X"].astype(np.float32) for file in files]
        self.seed, self.real = seed, np.concatenate(sets)
        noise = [np.full(len(X), nearest(X) / X.shape[1] ** 0.5, np.float32) for X in sets]
        self.noise = np.concatenate(noise)

    def block(self, number: int, n: int = BLOCK) -> np.ndarray:
        rng = np.random.default_rng([self.seed, number])
        rows = rng.integers(len(self.real), size=n)
        out = rng.standard_normal((n, self.real.shape[1]), dtype=np.float32)
        out *= self.noise[rows, None]
        out += self.real[rows]
        return out

    def read(self, start: int, stop: int) -> np.ndarray:
        parts = [
            self.block(number)[max(start - number * BLOCK, 0) : stop - number * BLOCK]
            for number in range(start // BLOCK, -(-stop // BLOCK))
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def nearest(X: np.ndarray) -> float:
    """Return the median distance to the nearest neighbour."""
    norms = (X**2).sum(1)
    gaps = norms[:, None] + norms - 2 * X @ X.T
    np.fill_diagonal(gaps, np.inf)
    return float(np.median(np.sqrt(np.maximum(gaps.min(1), 0))))


def exact(read: Callable[[int, int], np.ndarray], n: int, Q: np.ndarray, k: int) -> np.ndarray:
    """Return the nearest of all vectors, by matrix products and then distances themselves."""
    best = np.full((len(Q), k), np.inf)
    found = np.full((len(Q), k), -1)
    for start in range(0, n, BLOCK):
        X = read(start, min(start + BLOCK, n))
        gaps = (X**2).sum(1) - 2 * Q @ X.T
        some = np.argpartition(gaps, min(k + 10, len(X) - 1), axis=1)[:, : k + 10]
        own = ((X[some] - Q[:, None]) ** 2).sum(2, dtype=np.float64)
        all_gaps = np.concatenate([best, own], axis=1)
        order = np.argsort(all_gaps, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(all_gaps, order, 1)
        found = np.take_along_axis(np.concatenate([found, some + start], axis=1), order, 1)
    return found


def recall(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([np.isin(t, f).mean() for f, t in zip(found, true, strict=True)]))


def peak_gb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()  # getrusage: the parent's, too
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6


def part_build(made: Made, n: int, folder: Path) -> dict[str, Any]:
    before, begun = peak_gb(), time.perf_counter()
    index = VectorIndex.build(made.read, n, folder)
    seconds = time.perf_counter() - begun
    size = sum((folder / name).stat().st_size for name in index.files) / 1e9
    return {"build_s": seconds, "build_peak_gb": peak_gb(), "before_gb": before, "disk_gb": size}


def part_open(made: Made, n: int, folder: Path) -> dict[str, Any]:
    begun = time.perf_counter()
    index = VectorIndex.open(folder)
    opened = time.perf_counter() - begun
    index.search(made.block(10**9, 1), K)
    first = time.perf_counter() - begun - opened
    return {"open_s": opened, "first_search_s": first}


def part_search(made: Made, n: int, folder: Path) -> dict[str, Any]:
    index, Q = VectorIndex.open(folder), made.block(10**9, 1000)
    index.search(Q[:32], K)
    one = []
    for i in range(50):
        begun = time.perf_counter()
        index.search(Q[i : i + 1], K)
        one.append(1e3 * (time.perf_counter() - begun))
    begun = time.perf_counter()
    found, distances = index.search(Q, K)
    each = time.perf_counter() - begun
    alone = [index.search(Q[i : i + 1], K) for i in range(200)]
    same = all(
        p.tobytes() == found[i : i + 1].tobytes() and d.tobytes() == distances[i : i + 1].tobytes()
        for i, (p, d) in enumerate(alone)
    )
    return {"one_ms": float(np.median(one)), "one_slowest_ms": max(one), "each_of_1000_ms": each,
            "same_alone": same, "peak_gb": peak_gb()}  # fmt: skip


def part_recall(made: Made, n: int, folder: Path) -> dict[str, Any]:
    index, Q = VectorIndex.open(folder), made.block(10**9, 200)
    found = index.search(Q, K)[0]
    true = exact(made.read, n, Q, K)
    kept = exact(lambda start, stop: index.vectors(np.arange(start, stop)), n, Q, K)
    return {"recall_kept": recall(found, kept), "recall_full": recall(found, true),
            "exact_kept_full": recall(kept, true)}  # fmt: skip


PARTS = {"build": part_build, "open": part_open, "search": part_search, "recall": part_recall}


def main() -> None:
    """Measure every part in a process of its own, print rows, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--embeddings", type=Path, required=True, help="folder of .npz with X")
    parser.add_argument("--scratch", type=Path, help="folder with some GB of room")
    parser.add_argument("--index", type=Path, help="keep the index in this folder")
    parser.add_argument("--part", choices=PARTS, help="measure one part of --index, print JSON")
    args = parser.parse_args()
    if args.part:
        print(json.dumps(PARTS[args.part](Made(args.embeddings), args.vectors, args.index)))
        return
    result: dict[str, Any] = {"benchmark": "index", "vectors": args.vectors}
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        options = ["--vectors", str(args.vectors), "--embeddings", str(args.embeddings),
                   "--index", str(args.index or Path(scratch) / "index")]  # fmt: skip
        for part in PARTS:
            command = [sys.executable, __file__, *options, "--part", part]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            row = json.loads(done.stdout.splitlines()[-1])
            result |= row
            for name, value in row.items():
                print(f"{part:8}{name:18}{value:>10.4g}", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
