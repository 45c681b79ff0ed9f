"""Compiled loops of the index, each row by itself, so that company and threads change no bit."""

from __future__ import annotations

import numpy as np
from numba import njit

# Sums may be reordered into vector registers, the same way in every call. NaN keeps its meaning.
_jit = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
_exact = njit(nogil=True, cache=True)

N_WORDS = 256  # a code is one byte
LEAST_SCALE, SCALE_STEP = 0.6, 0.003  # a byte of scale reaches from 0.6 to 1.365
_NONE = np.iinfo(np.int64).max


@_jit
def _gap(a: np.ndarray, b: np.ndarray) -> np.float32:
    total = np.float32(0)
    for t in range(a.size):
        step = a[t] - b[t]
        total += step * step
    return total


@_jit
def rotate(X: np.ndarray, axes: np.ndarray, out: np.ndarray) -> None:
    """Write the coordinates of rows along axes."""
    for i in range(X.shape[0]):
        for j in range(axes.shape[0]):
            total = np.float32(0)
            for t in range(X.shape[1]):
                total += X[i, t] * axes[j, t]
            out[i, j] = total


@_jit
def assign(
    X: np.ndarray,
    tops: np.ndarray,
    first: np.ndarray,
    lists: np.ndarray,
    n_tops: int,
    out: np.ndarray,
) -> None:
    """Write the nearest of the lists under the `n_tops` nearest tops, for every row."""
    gaps = np.empty(tops.shape[0], np.float32)
    for i in range(X.shape[0]):
        for t in range(tops.shape[0]):
            gaps[t] = _gap(X[i], tops[t])
        best, found = np.float32(np.inf), 0
        for _ in range(n_tops):
            top = np.argmin(gaps)
            gaps[top] = np.inf
            for j in range(first[top], first[top + 1]):
                gap = _gap(X[i], lists[j])
                if gap < best:
                    best, found = gap, j
        out[i] = found


@_exact
def means(X: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> None:
    """Move centres to the mean of their rows; a centre without rows stays."""
    sums = np.zeros(centres.shape, np.float64)
    counts = np.zeros(centres.shape[0], np.int64)
    for i in range(X.shape[0]):
        counts[labels[i]] += 1
        for t in range(X.shape[1]):
            sums[labels[i], t] += X[i, t]
    for c in range(centres.shape[0]):
        if counts[c]:
            for t in range(X.shape[1]):
                centres[c, t] = sums[c, t] / counts[c]


@_jit
def encode(X: np.ndarray, words: np.ndarray, bounds: np.ndarray, codes: np.ndarray) -> None:
    """Write the nearest word of every group of coordinates."""
    gaps = np.empty(N_WORDS, np.float32)
    for i in range(X.shape[0]):
        for g in range(bounds.size - 1):
            gaps[:] = 0
            for t in range(bounds[g], bounds[g + 1]):
                x = X[i, t]
                for w in range(N_WORDS):
                    step = x - words[t, w]
                    gaps[w] += step * step
            least = gaps[0]
            for w in range(N_WORDS):
                least = min(least, gaps[w])
            found = 0
            while gaps[found] > least:
                found += 1
            codes[i, g] = found


@_exact
def measure(
    X: np.ndarray, words: np.ndarray, bounds: np.ndarray, codes: np.ndarray, scales: np.ndarray
) -> None:
    """Write the scale at which the words of a row are as long as the row."""
    for i in range(X.shape[0]):
        true, coded = 0.0, 0.0
        for g in range(bounds.size - 1):
            for t in range(bounds[g], bounds[g + 1]):
                true += np.float64(X[i, t]) ** 2
                coded += np.float64(words[t, codes[i, g]]) ** 2
        scale = np.sqrt(true / coded) if coded > 0 else 1.0
        scales[i] = min(max(round((scale - LEAST_SCALE) / SCALE_STEP), 0), 255)


@_exact
def decode(
    rows: np.ndarray,
    starts: np.ndarray,
    centres: np.ndarray,
    words: np.ndarray,
    bounds: np.ndarray,
    codes: np.ndarray,
    scales: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the kept vectors of rows, along the axes."""
    for i in range(rows.size):
        row = rows[i]
        c = np.searchsorted(starts, row, side="right") - 1
        scale = np.float32(LEAST_SCALE + SCALE_STEP * scales[row])
        for g in range(bounds.size - 1):
            word = codes[row, g]
            for t in range(bounds[g], bounds[g + 1]):
                out[i, t] = centres[c, t] + scale * words[t, word]


@_exact
def _push(gaps: np.ndarray, rows: np.ndarray, gap: np.float32, row: int) -> None:
    """Replace the farthest of a heap; of equally far ones, the last."""
    n, at = gaps.size, 0
    while True:
        child = 2 * at + 1
        if child >= n:
            break
        other = child + 1
        if other < n and (
            gaps[other] > gaps[child] or (gaps[other] == gaps[child] and rows[other] > rows[child])
        ):
            child = other
        if gaps[child] < gap or (gaps[child] == gap and rows[child] < row):
            break
        gaps[at], rows[at] = gaps[child], rows[child]
        at = child
    gaps[at], rows[at] = gap, row


@_exact
def _distance(a: np.ndarray, b: np.ndarray) -> np.float32:
    total = 0.0
    for t in range(a.size):
        total += (np.float64(a[t]) - np.float64(b[t])) ** 2
    return np.float32(np.sqrt(total))


@_jit
def search_all(Q: np.ndarray, X: np.ndarray, found: np.ndarray, distances: np.ndarray) -> None:
    """Write the nearest rows of X, in no order, and their distances."""
    gaps = np.empty(found.shape[1], np.float32)
    for i in range(Q.shape[0]):
        gaps[:] = np.inf
        found[i] = _NONE
        for row in range(X.shape[0]):
            gap = _gap(Q[i], X[row])
            if gap < gaps[0] or found[i, 0] == _NONE:
                _push(gaps, found[i], gap, row)
        for j in range(found.shape[1]):
            distances[i, j] = _distance(Q[i], X[found[i, j]])


@_jit
def _table(left: np.ndarray, words: np.ndarray, bounds: np.ndarray, table: np.ndarray) -> None:
    """Write what each word adds to the product of a vector and the words of a row."""
    table[:] = 0
    for g in range(bounds.size - 1):
        for t in range(bounds[g], bounds[g + 1]):
            for w in range(N_WORDS):
                table[g, w] += left[t] * words[t, w]


@_jit
def _lengths(words: np.ndarray, bounds: np.ndarray, table: np.ndarray) -> None:
    """Write what each word adds to the squared length of the words of a row."""
    table[:] = 0
    for g in range(bounds.size - 1):
        for t in range(bounds[g], bounds[g + 1]):
            for w in range(N_WORDS):
                table[g, w] += words[t, w] * words[t, w]


@_jit
def _sum(table: np.ndarray, codes: np.ndarray) -> np.float32:
    """Add up the entries that codes name, in four chains that do not wait for one another."""
    a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    whole = codes.size - codes.size % 4
    for g in range(0, whole, 4):
        a += table[g, codes[g]]
        b += table[g + 1, codes[g + 1]]
        c += table[g + 2, codes[g + 2]]
        d += table[g + 3, codes[g + 3]]
    for g in range(whole, codes.size):
        a += table[g, codes[g]]
    return (a + b) + (c + d)


@_jit
def search_lists(
    Q: np.ndarray,
    centres: np.ndarray,
    starts: np.ndarray,
    codes: np.ndarray,
    scales: np.ndarray,
    words: np.ndarray,
    bounds: np.ndarray,
    n_scan: int,
    found: np.ndarray,
    distances: np.ndarray,
) -> None:
    """Write the nearest rows of the nearest lists that hold `n_scan`, and their distances."""
    away = np.empty(centres.shape[0], np.float32)
    along = np.empty((bounds.size - 1, N_WORDS), np.float32)
    long = np.empty((bounds.size - 1, N_WORDS), np.float32)
    _lengths(words, bounds, long)
    gaps = np.empty(found.shape[1], np.float32)
    vectors = np.empty((found.shape[1], Q.shape[1]), np.float32)
    for i in range(Q.shape[0]):
        gaps[:] = np.inf
        found[i] = _NONE
        for c in range(centres.shape[0]):
            away[c] = _gap(Q[i], centres[c])
        scanned = 0
        for c in np.argsort(away, kind="mergesort"):
            if starts[c] == starts[c + 1]:
                continue
            _table(Q[i] - centres[c], words, bounds, along)
            for row in range(starts[c], starts[c + 1]):
                # |q - kept|² = |q - centre|² - 2 scale (q - centre)·words + scale² words·words
                scale = np.float32(LEAST_SCALE + SCALE_STEP * scales[row])
                gap = away[c] - 2 * scale * _sum(along, codes[row])
                gap += scale * scale * _sum(long, codes[row])
                gap = gap if gap < np.inf else np.float32(np.inf)  # what overflows is not near
                if gap < gaps[0] or found[i, 0] == _NONE:
                    _push(gaps, found[i], gap, row)
            scanned += starts[c + 1] - starts[c]
            if scanned >= n_scan:
                break
        decode(found[i], starts, centres, words, bounds, codes, scales, vectors)
        for j in range(found.shape[1]):
            distances[i, j] = _distance(Q[i], vectors[j])
