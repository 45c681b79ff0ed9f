"""How vectors become codes: lists around centres, and a byte for each group of coordinates.

A vector is kept as the centre nearest to it plus a scaled word for every group of coordinates of
what is left. Coordinates are along the principal axes of what is left, and groups are cut so that
each has eight bits to tell, as in reverse water-filling: the wider the axis, the smaller the group.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from genemamba._files import replacing
from genemamba._machine import cores
from genemamba.errors import InputError
from genemamba.maps import _kernels as kernels

SAMPLE_PER_LIST = 16
LEAST_SAMPLE = 1 << 16
TOPS_SEARCHED = 4
_ROUNDS = 10


@dataclass(frozen=True)
class Coder:
    """What turns vectors into codes and back."""

    axes: np.ndarray  # (width, width); a row is an axis
    tops: np.ndarray  # (tops, width), along the axes like all that follows
    first: np.ndarray  # (tops + 1); the lists of a top
    centres: np.ndarray  # (lists, width)
    words: np.ndarray  # (width, 256)
    bounds: np.ndarray  # (groups + 1); the coordinates of a group

    def rotate(self, X: np.ndarray) -> np.ndarray:
        """Return vectors along the axes."""
        return rotated(X, self.axes)

    def encode(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the lists, codes and scales of vectors."""
        X = self.rotate(X)
        labels = assigned(X, self.tops, self.first, self.centres)
        X -= self.centres[labels]
        codes = encoded(X, self.words, self.bounds)
        scales = np.empty(len(X), np.uint8)
        in_threads(
            lambda r: kernels.measure(X[r], self.words, self.bounds, codes[r], scales[r]), len(X)
        )
        return labels, codes, scales


def n_lists(n: int) -> tuple[int, int]:
    """Return the number of tops and of lists, about eight times the root of n."""
    tops = max(1, round(8**0.5 * n**0.25))
    return tops, tops * tops


def n_sample(n: int) -> int:
    """Return how many of n vectors are trained on."""
    return min(n, max(SAMPLE_PER_LIST * n_lists(n)[1], LEAST_SAMPLE))


def n_bytes(n: int, width: int) -> int:
    """Return the bytes of codes per vector: half the width while ten million take below 1 GB."""
    return max(1, min(width // 2, max(width * 93 // 256, 930_000_000 // n)))


def train(sample: np.ndarray, n: int, rng: np.random.Generator) -> Coder:
    """Fit centres, axes and words to a sample of n vectors."""
    tops, lists = n_lists(n)
    roots = _k_means(sample, tops, rng)
    labels = _nearest(sample, roots)
    share = np.maximum(1, np.round(np.bincount(labels, minlength=tops) * lists / len(sample)))
    first = np.concatenate([[0], np.cumsum(share.astype(np.int64))])
    centres = np.repeat(roots, np.diff(first), axis=0)  # what a top without vectors keeps
    for top in np.unique(labels):
        own = slice(first[top], first[top + 1])
        centres[own] = _k_means(sample[labels == top], own.stop - own.start, rng)
    some = sample[np.sort(rng.permutation(len(sample))[:LEAST_SAMPLE])]
    left = some - centres[assigned(some, roots, first, centres)]
    with threadpool_limits(1):  # the same bits on any number of cores
        wide, columns = np.linalg.eigh(left.T @ left / len(left))
    axes = np.ascontiguousarray(columns[:, ::-1].T, dtype=np.float32)
    bounds = _groups(wide[::-1], n_bytes(n, sample.shape[1]))
    words = _words(rotated(left, axes), bounds, rng)
    with np.errstate(over="ignore"):
        halves = rotated(centres, axes).astype(np.float16)  # as they are kept
    if not np.isfinite(halves).all():
        raise InputError(
            "the vectors are too long to be kept as codes", "divide them by their size"
        )
    return Coder(axes, rotated(roots, axes), first, halves.astype(np.float32), words, bounds)


def _groups(wide: np.ndarray, groups: int) -> np.ndarray:
    """Cut coordinates, widest first, into groups of eight bits each."""
    wide = np.maximum(wide, max(wide[0], 1e-30) * 1e-12)
    low, high = np.log2(wide[-1]) - 17, np.log2(wide[0])
    for _ in range(
        60
    ):  # the level of noise at which the bits of all coordinates are those there are
        level = (low + high) / 2
        bits = np.clip((np.log2(wide) - level) / 2, 0, 8)
        low, high = (level, high) if bits.sum() > 8 * groups else (low, level)
    middle = np.cumsum(bits) - bits / 2
    group = np.clip((middle / 8).astype(np.int64), 0, groups - 1)
    return np.concatenate([[0], np.flatnonzero(np.diff(group)) + 1, [len(wide)]])


def _words(left: np.ndarray, bounds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    begun = rng.choice(len(left), kernels.N_WORDS, replace=len(left) < kernels.N_WORDS)
    words = np.ascontiguousarray(left[np.sort(begun)].T)
    for _ in range(_ROUNDS):
        codes = encoded(left, words, bounds)
        for g, (a, b) in enumerate(pairwise(bounds)):
            own = np.ascontiguousarray(words[a:b].T)
            kernels.means(np.ascontiguousarray(left[:, a:b]), codes[:, g].astype(np.int64), own)
            words[a:b] = own.T
    return words


def _k_means(X: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    begun = rng.choice(len(X), k, replace=len(X) < k)
    centres = X[np.sort(begun)]
    for _ in range(_ROUNDS if k > 1 else 1):
        kernels.means(X, _nearest(X, centres), centres)
    return centres


def _nearest(X: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return assigned(X, centres[:1], np.array([0, len(centres)]), centres)


def assigned(X: np.ndarray, tops: np.ndarray, first: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the list of every vector."""
    labels, searched = np.empty(len(X), np.int64), min(TOPS_SEARCHED, len(tops))
    in_threads(lambda r: kernels.assign(X[r], tops, first, centres, searched, labels[r]), len(X))
    return labels


def encoded(left: np.ndarray, words: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return the word of every group of coordinates."""
    codes = np.empty((len(left), len(bounds) - 1), np.uint8)
    in_threads(lambda r: kernels.encode(left[r], words, bounds, codes[r]), len(left))
    return codes


def rotated(X: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Return vectors along axes."""
    out = np.empty((len(X), len(axes)), np.float32)
    in_threads(lambda r: kernels.rotate(X[r], axes, out[r]), len(X))
    return out


def in_threads(work: Callable[[slice], None], n: int, step: int = 4096) -> None:
    """Do work on slices of n rows, on every core that there is."""
    rows = [slice(start, min(start + step, n)) for start in range(0, n, step)]
    if len(rows) == 1:
        work(rows[0])
        return
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(work, rows))


def save_array(file: Path, array: np.ndarray) -> None:
    """Write one array, whole or not at all."""
    with replacing(file) as new, new.open("wb") as out:
        np.save(out, array, allow_pickle=False)
